#!/bin/sh
# Runs the named parts of the tests, or all of them, each to its end, and closes
# with how many passed. The exit code is 1 if any failed.
set -u
cd "$(dirname "$0")/.."
PATH=$PWD/.cache/bin:$PATH
export PATH

passed=0
failed=0
summary=

packages() {
	go list ./... | grep -v '^berth/test/'
}

# part runs one part and keeps its result and duration for the summary.
part() {
	name=$1
	shift
	echo "== $name"
	start=$(date +%s)
	if "$@"; then
		result=ok
		passed=$((passed + 1))
	else
		result=FAILED
		failed=$((failed + 1))
	fi
	summary="$summary$(printf '%-12s %-6s %4d s' "$name" "$result" $(($(date +%s) - start)))
"
}

format() {
	unformatted=$(gofmt -l $(git ls-files '*.go'))
	if [ -n "$unformatted" ]; then
		echo "not as gofmt writes it:"
		echo "$unformatted"
		return 1
	fi
}

vet() { format && go vet ./...; }

lint() { staticcheck ./...; }

build() { CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /dev/null ./cmd/berth; }

unit() { go test -race -timeout 15m $(packages); }

e2e() { go test -count=1 -timeout 20m -skip '^TestConformance$' ./test/e2e/...; }

oracle() { (cd test/oracle && go vet ./... && go test ./...); }

bench() { (cd bench && go vet ./... && go test ./...); }

conformance() { go test -count=1 -timeout 10m -v -run '^TestConformance$' ./test/e2e; }

if [ $# = 0 ]; then
	set -- vet lint build unit e2e oracle bench conformance
fi
for p in "$@"; do
	case $p in
	vet | lint | build | unit | e2e | oracle | bench | conformance) part "$p" "$p" ;;
	*)
		echo "test/run.sh: there is no part $p" >&2
		exit 2
		;;
	esac
done

echo "== summary"
printf '%s' "$summary"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
