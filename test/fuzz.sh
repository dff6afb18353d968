#!/bin/sh
# Runs every fuzz target of the module for the given time each.
set -eu
cd "$(dirname "$0")/.."
duration=${1:-5s}

go list -f '{{.ImportPath}}' ./... | while read -r pkg; do
	go test -list '^Fuzz' "$pkg" | grep '^Fuzz' | while read -r target; do
		echo "== $pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" "$pkg" </dev/null
	done
done
