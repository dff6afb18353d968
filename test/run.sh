#!/bin/sh
# Runs the named parts of the tests, or all of them, each to its end, and closes
# with how many passed. The exit code is 1 if any failed. A part that cannot be
# run here says why and is counted as skipped.
set -u
cd "$(dirname "$0")/.."
PATH=$PWD/.cache/bin:$PATH
export PATH

passed=0
failed=0
skipped=0
summary=

cannot=77 # what a part returns that cannot be run here

packages() {
	go list ./... | grep -v '^berth/test/e2e'
}

# part runs one part and keeps its result and duration for the summary.
part() {
	name=$1
	shift
	echo "== $name"
	start=$(date +%s)
	"$@"
	case $? in
	0)
		result=ok
		passed=$((passed + 1))
		;;
	"$cannot")
		result=skipped
		skipped=$((skipped + 1))
		;;
	*)
		result=FAILED
		failed=$((failed + 1))
		;;
	esac
	summary="$summary$(printf '%-12s %-7s %4d s' "$name" "$result" $(($(date +%s) - start)))
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

fuzz() { test/fuzz.sh 1s unguided; }

# vuln asks Go's database of known weaknesses, or that at $GOVULNDB, about what
# the binary is built from. Without it nothing can be said.
vuln() {
	db=${GOVULNDB:-https://vuln.go.dev}
	if ! out=$(govulncheck -db "$db" -scan module 2>&1); then
		case $out in
		*"fetching vulnerabilities"*)
			echo "skipped: the database of known weaknesses cannot be had: $out"
			return "$cannot"
			;;
		esac
	fi
	govulncheck -db "$db" ./...
}

# sweep is the part of the campaign that needs nothing but Go, in short.
sweep() { go run ./test/campaign -part sweep -rounds 2 -dir .cache/sweep; }

oracle() { (cd test/oracle && go vet ./... && go test ./...); }

bench() { (cd bench && go vet ./... && go test ./...); }

conformance() { go test -count=1 -timeout 10m -v -run '^TestConformance$' ./test/e2e; }

if [ $# = 0 ]; then
	set -- vet lint vuln build unit fuzz e2e sweep oracle bench conformance
fi
for p in "$@"; do
	case $p in
	vet | lint | vuln | build | unit | fuzz | e2e | sweep | oracle | bench | conformance) part "$p" "$p" ;;
	*)
		echo "test/run.sh: there is no part $p" >&2
		exit 2
		;;
	esac
done

echo "== summary"
printf '%s' "$summary"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
