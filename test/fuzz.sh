#!/bin/sh
# Runs every fuzz target of the module for the given time each, and stops at the
# first finding, which it leaves in the target's testdata/fuzz. With "unguided" as
# the second argument the packages are built as for other tests: that saves minutes,
# and the fuzzer does not see which input leads somewhere new.
set -eu
cd "$(dirname "$0")/.."
duration=${1:-2m}
guide='-fuzz .'
if [ "${2:-}" = unguided ]; then
	guide=
fi
cache=$(go env GOCACHE)/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# run_target fuzzes one target of the package whose tests are in $work/test. When
# the time is up in the middle of an input, the testing package may report that as a
# failure: a failure that leaves no input behind and says nothing else is none.
run_target() {
	(cd "$1" && "$work/test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$duration" \
		-test.fuzzcachedir "$cache/berth/$1") >"$work/log" 2>&1 && return
	if ! grep -q 'Failing input\|panic' "$work/log" && grep -q '^ *context deadline exceeded$' "$work/log"; then
		return
	fi
	cat "$work/log"
	return 1
}

for dir in $(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u); do
	# shellcheck disable=SC2086
	go test -c $guide -o "$work/test" "./$dir"
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(f .*/\1/p' "$dir"/*_test.go); do
		echo "-- $dir $target"
		run_target "$dir" "$target"
	done
done
