#!/usr/bin/env bash
# The published Go SDK against three real nodes. Usage: run-go.sh [calm|kills].
# Prints rows on standard output: ROW, SDK, mode, promise, kept|broken|n/a, note.
#
# LIMPET_BIN names the binary (bin/limpet if unset). Logs: .cache/conformance/go.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sdk=go
mode=${1:-calm}
work=$root/.cache/conformance/go/$mode
programs=$root/.cache/conformance/go/bin

# shellcheck source=go/cluster.sh
. "$root/tests/conformance/go/cluster.sh"

case $mode in
calm) load=(-size 10) ;;
kills) load=(-size 3 -for "${storm_seconds}s") ;;
*) say "usage: run-go.sh [calm|kills]" && exit 2 ;;
esac
mkdir -p "$work" "$programs"

cd "$root/tests/conformance/go"
if ! command -v go >/dev/null; then
	no_rows "no go command"
	exit 0
fi
if ! go mod download >"$work/download.log" 2>&1; then
	no_rows "the Go SDK cannot be downloaded: $(tail -n 1 "$work/download.log" | tr '\t' ' ' | cut -c 1-300)"
	exit 0
fi
go build -o "$programs/" ./worker ./driver

trap end_all EXIT
trap 'exit 130' INT TERM HUP
start_cluster
start_workers "$programs/worker"
watch_nodes
status=0
timeout -k 10 240 "$programs/driver" -mode "$mode" "${load[@]}" >"$work/driver.out" 2>"$work/driver.log" || status=$?
grep '^ROW' "$work/driver.out" || no_rows "the driver ended with status $status: $(tail -n 1 "$work/driver.log" | tr '\t' ' ' | cut -c 1-300)"
exit "$status"
