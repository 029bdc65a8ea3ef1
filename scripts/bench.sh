#!/usr/bin/env bash
# Measures three nodes on this machine with a synced log, and what the machine
# could do at most, in one run. Writes bench/results/*.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p bench/results
measure() { # name workload flags...
	bin/limpet bench "${@:2}" -o json >"bench/results/$1.json"
	printf '%s: %s runs/s\n' "$1" "$(sed -n 's/^  "runs_per_second": \([0-9]*\).*/\1/p' "bench/results/$1.json")"
}
measure ceiling ceiling --outstanding 256
for n in 1 64 256; do
	measure "throughput-$n" throughput --self-cluster 3 --outstanding "$n"
done
measure bulk bulk --self-cluster 3
