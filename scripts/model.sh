#!/usr/bin/env bash
# Checks docs/model/limpet.pml with Spin: the rules as they are, that the states
# which matter can be reached, and that each rule broken on purpose is noticed.
# Ends with 1 if anything is not as it should be.
#
#   scripts/model.sh             all of it; about 2 minutes on a quiet machine
#   scripts/model.sh deep        with one fault more in the first checks
#   scripts/model.sh show NAME   the steps to the violation of a broken rule
set -euo pipefail
cd "$(dirname "$0")/.."
model=$PWD/docs/model/limpet.pml
work=${CACHE:-$PWD/.cache}/model
cc=${CC:-gcc}

for tool in spin "$cc"; do
	if ! command -v "$tool" >/dev/null; then
		echo "model: no $tool on this machine (Debian packages: spin, gcc)" >&2
		exit 1
	fi
done
mkdir -p "$work"

# Broken rules: name, the invariant to break, other choices.
broken="
HARD_MOVES_WHEN_SUSPECT      2 -DSTICKY=HARD
PIN_FORGOTTEN_BY_RESTORE     2 -DSTICKY=HARD
OPERATOR_TAKES_A_HELD_RUN    2 -DSTICKY=HARD
APPLIED_UNVALIDATED          2 -DSTICKY=HARD
SOFT_MOVES_WHEN_SUSPECT      3 -DSTICKY=SOFT
NO_ATTEMPT_FENCE             4 -DSTICKY=SOFT
ATTEMPT_USED_AGAIN           4 -DSTICKY=SOFT
EPOCH_STAYS                  4 -DSTICKY=HARD
LOSS_KEEPS_ATTEMPTS          4 -DSTICKY=HARD
IDENTITY_OF_A_LIVE_WORKER    4 -DSTICKY=HARD
STREAM_OF_AN_OLD_START       4 -DSTICKY=HARD
APPLIED_UNVALIDATED          4 -DSTICKY=SOFT
SENT_BEFORE_COMMIT           4 -DSTICKY=SOFT
SENT_BEFORE_COMMIT           5 -DSTICKY=HARD
DEPOSED_LEADER_COMMITS       5 -DSTICKY=HARD
"

# check NAME MODE CHOICES...: runs the model in a folder of its own. MODE is what
# the C compiler is told: breadth first finds a shortest way to a violation.
# Sets states, steps, errors, seconds and said.
check() {
	local name=$1 mode=$2 from=$EPOCHREALTIME
	shift 2
	mkdir -p "$work/$name"
	cd "$work/$name"
	rm -f ./*.trail
	spin "$@" -a "$model"
	# shellcheck disable=SC2086
	"$cc" -O1 -w $mode -o pan pan.c
	local flags=(-m1000000)
	if [ "$mode" = -DNP ]; then flags+=(-l); fi
	./pan "${flags[@]}" >out 2>&1 || true
	cd - >/dev/null
	local out="$work/$name/out"
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$out")
	errors=$(sed -n 's/.*depth reached [0-9]*, errors: \([0-9]*\)$/\1/p' "$out")
	steps=$(sed -n 's/.*(at depth \([0-9]*\)).*/\1/p' "$out" | head -1)
	said=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' "$out")
	seconds=$(awk -v a="$from" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	if [ -z "$states" ] || [ -z "$errors" ] || grep -q 'max search depth too small\|out of memory' "$out"; then
		echo "model: the search did not end as it should; see $out" >&2
		exit 1
	fi
}

# holds TITLE MODE CHOICES...: no violation, no dead end.
holds() {
	local title=$1 mode=$2
	shift 2
	check "$(tr -c 'A-Za-z0-9\n' _ <<<"$title")" "$mode" "$@"
	local verdict=holds
	if [ "$errors" != 0 ]; then
		verdict="BROKEN: $said"
		status=1
	fi
	printf '%-60s %11s %8s  %s\n' "$title" "$states" "$seconds" "$verdict"
}

# breaks TITLE NAME INVARIANT CHOICES...: a violation of that invariant.
breaks() {
	local name=$1 invariant=$2
	shift 2
	check "BUG_$name.I$invariant" "-DSAFETY -DBFS" "-DBUG_$name" "-DONLY=$invariant" "$@"
	local verdict="I$invariant"
	if [ "$errors" = 0 ] || ! [[ $said == "assertion violated"*"I$invariant"* ]]; then
		verdict="NOT FOUND: ${said:-no violation}"
		status=1
	fi
	printf '%-34s %-6s %6s %11s %8s\n' "$name" "$verdict" "${steps:--}" "$states" "$seconds"
}

# reaches TITLE GOAL CHOICES...: the state of that number.
reaches() {
	local title=$1 goal=$2
	shift 2
	check "GOAL_$goal" "-DSAFETY -DBFS" "-DGOAL=$goal" "$@"
	if [ "$errors" = 0 ] || ! [[ $said == "assertion violated 0"* ]]; then
		steps="NEVER ${said:-}"
		status=1
	fi
	printf '%-60s %11s %8s  %s\n' "$title" "$states" "$seconds" "$steps"
}

status=0
if [ "${1:-}" = show ]; then
	line=$(grep -m1 "^${2:-} " <<<"$broken") || { echo "model: show what? One of: $(awk 'NF { print $1 }' <<<"$broken" | sort -u | paste -sd' ')" >&2; exit 1; }
	read -r name invariant choices <<<"$line"
	# shellcheck disable=SC2086
	breaks "$name" "$invariant" $choices
	cd "$work/BUG_$name.I$invariant"
	# shellcheck disable=SC2086
	spin -T -k limpet.pml.trail "-DBUG_$name" "-DONLY=$invariant" $choices "$model" | grep '^[a-zA-Z]' | grep -v '^spin: text' | sed "s#$PWD/##;s#$model#docs/model/limpet.pml#"
	exit $status
fi

search="-DSAFETY -DBFS"
printf '%-60s %11s %8s  %s\n' "the rules as they are" states seconds "I2 I3 I4 I5, no dead end"
if [ "${1:-}" = deep ]; then hard=4 soft=3; else hard=3 soft=2; fi
holds "HARD, $hard faults" "$search" -DSTICKY=HARD -DFAULTS=$hard
holds "HARD, on_lost is repin, $hard faults" "$search" -DSTICKY=HARD -DREPIN -DFAULTS=$hard
holds "SOFT, $soft faults" "$search" -DSTICKY=SOFT -DFAULTS=$soft
holds "SOFT, 3 faults, one assignment in flight" "$search" -DSTICKY=SOFT -DFAULTS=3 -DINFLIGHT=1
holds "HARD, a deposed leader commits; all but I5" "$search" -DSTICKY=HARD -DFAULTS=2 -DBUG_DEPOSED_LEADER_COMMITS -DWITHOUT=5
holds "SOFT, a deposed leader commits; all but I5" "$search" -DSTICKY=SOFT -DFAULTS=2 -DBUG_DEPOSED_LEADER_COMMITS -DWITHOUT=5
holds "HARD, 2 faults: no step repeats for ever (I7)" -DNP -DSTICKY=HARD -DFAULTS=2
holds "SOFT, 1 fault: no step repeats for ever (I7)" -DNP -DSTICKY=SOFT -DFAULTS=1

printf '\n%-60s %11s %8s  %s\n' "what must be reachable" states seconds steps
reaches "HARD: the run completes" 1 -DSTICKY=HARD
reaches "HARD: the run completes while a zombie works on" 2 -DSTICKY=HARD
reaches "SOFT: the pin moves and the run completes" 3 -DSTICKY=SOFT
reaches "SOFT: a task overflows and the pin stays" 4 -DSTICKY=SOFT
reaches "HARD: the third leader, and the worker was lost in between" 5 -DSTICKY=HARD

printf '\n%-34s %-6s %6s %11s %8s\n' "a rule broken on purpose" breaks steps states seconds
while read -r name invariant choices; do
	if [ -n "$name" ]; then
		# shellcheck disable=SC2086
		breaks "$name" "$invariant" $choices
	fi
done <<<"$broken"

if [ $status != 0 ]; then
	echo "model: not as it should be" >&2
fi
exit $status
