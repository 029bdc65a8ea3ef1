#!/usr/bin/env bash
# One-task runs end to end, on three nodes on this machine with a synced log.
# Writes bench/results/throughput-N.json, N being the runs in flight.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$(mktemp -d)
trap 'kill "$dev" 2>/dev/null; wait "$dev" 2>/dev/null; rm -rf "$dir"' EXIT
bin/limpet dev --nodes 3 --data-dir "$dir" --base-port 29077 >"$dir/dev.log" 2>&1 & dev=$!
for _ in $(seq 300); do [ -e "$dir/env" ] && break; sleep 0.1; done
mkdir -p bench/results
for n in 1 64 256; do
	bin/limpet bench --addr "$(cat "$dir/addr")" --token "$(cat "$dir/token")" \
		--outstanding "$n" --runs $((n == 1 ? 500 : 10000)) -o json >"bench/results/throughput-$n.json"
	printf 'outstanding %s: ' "$n"
	tr -d '\n ' <"bench/results/throughput-$n.json"
	echo
done
