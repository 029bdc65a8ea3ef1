#!/usr/bin/env bash
# Measures three nodes on this machine with a synced log, and what the machine
# could do at most, in one run (about ten minutes). Writes bench/results/*.json.
#
#   BENCH_FULL=1       the large sizes: a million parked runs, 10,000 workers,
#                      50 kills, ten minutes of overload (about half an hour)
#   BENCH_DURATION=3s  how long each measurement takes
#   BENCH_ONLY="bulk"  only measurements whose name begins so
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
results=bench/results
mkdir -p "$results"
duration=${BENCH_DURATION:-10s}
parked=0,100000 counts=10,1000 kills=10 overload=60s turns=1
if [ "${BENCH_FULL:-0}" = 1 ]; then
	parked=0,100000,1000000 counts=10,1000,10000 kills=50 overload=600s turns=3
fi
# Finished runs leave the memory 15 s after their end: each turn begins when as many
# leave as end.
backlog=(--turns "$turns" --warmup 20s --duration 20s)

measure() { # name workload flags...
	if [[ "$1" != "${BENCH_ONLY:-}"* ]]; then return; fi
	bin/limpet bench "${@:2}" -o json >"$results/$1.json.new"
	mv "$results/$1.json.new" "$results/$1.json"
	printf '%-16s %s runs/s\n' "$1" "$(sed -n 's/^  "runs_per_second": \([0-9]*\).*/\1/p' "$results/$1.json")"
}

own=(--self-cluster 3 --duration "$duration")
# The ceiling and what is held against it follow each other.
measure ceiling ceiling --duration "$duration" --outstanding 256
for n in 1 16 64 256; do
	measure "throughput-$n" throughput "${own[@]}" --outstanding "$n"
done
measure ceiling-bulk ceiling --duration "$duration" --outstanding 1000 --batch 100
measure bulk bulk "${own[@]}" --outstanding 1000 --batch 100
measure latency latency "${own[@]}" --rate 500
measure dag dag "${own[@]}"
measure fanout fanout "${own[@]}"
measure backlog backlog --self-cluster 3 "${backlog[@]}" --parked "$parked"
measure workers workers "${own[@]}" --counts "$counts"
measure failover failover --self-cluster 3 --kills "$kills"
measure overload overload --self-cluster 3 --duration "$overload"
echo "tables: bin/limpet bench report --into docs/performance.md; plots: bin/limpet bench plot"
