#!/usr/bin/env bash
# Every promise of the page on sticky assignment, put to the published SDKs on a real
# cluster of three node processes: in calm, and while a node is killed with SIGKILL
# every ten seconds. Usage: scripts/conformance.sh [PART ...], where a part is a word
# of a step's name, such as python or typescript/kills.
#
# Needs Go, Node 20, npm and Python 3.11 with venv; further SDKs are the executables
# tests/conformance/run-*.sh, called with calm or kills. LIMPET_BIN names a binary to
# test instead of bin/limpet. The table also goes to .cache/conformance.tsv, logs and
# evidence to .cache/conformance.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

top=$PWD
cache=$top/.cache
logs=$cache/conformance
rows=$logs/rows
sdk_ts=$top/tests/sdk/typescript
sdk_py=$top/tests/sdk/python
own_ts=$top/tests/conformance/typescript
own_py=$top/tests/conformance/python
python=$cache/venv/bin/python
step_seconds=240

parts=("$@")
running= # process id of the driver that runs

say() { printf '%s\n' "$*"; }

wanted() {
	local part
	[ "${#parts[@]}" -eq 0 ] && return 0
	for part in "${parts[@]}"; do
		[[ $1 == *"$part"* ]] && return 0
	done
	return 1
}

end_driver() {
	[ -n "$running" ] || return 0
	kill "$running" 2>/dev/null || true
	wait "$running" 2>/dev/null || true
	running=
}

trap end_driver EXIT
trap 'exit 130' INT TERM HUP

# fresh STAMP FILE...: whether the files are as they were when the stamp was made.
# The stamps are those of sdk-test.sh, so that only one of the two installs.
fresh() {
	[ -e "$1" ] && [ "$(cat "${@:2}" | sha256sum)" = "$(cat "$1")" ]
}

# The drivers use the packages of tests/sdk/typescript: same SDK, same version.
set_up_node() {
	local files=("$sdk_ts/package.json" "$sdk_ts/package-lock.json") stamp=$sdk_ts/node_modules/.limpet-stamp name
	if ! fresh "$stamp" "${files[@]}"; then
		say "npm ci in ${sdk_ts#"$top"/}"
		(cd "$sdk_ts" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
		cat "${files[@]}" | sha256sum >"$stamp"
	fi
	mkdir -p "$own_ts/node_modules"
	for name in @hatchet-dev @types tsx typescript; do
		ln -sfn "../../../sdk/typescript/node_modules/$name" "$own_ts/node_modules/$name"
	done
}

set_up_python() {
	local files=("$sdk_py/requirements.txt" "$top/examples/python/requirements.txt") stamp=$cache/venv/.limpet-stamp
	fresh "$stamp" "${files[@]}" && return 0
	say "python environment in .cache/venv"
	rm -rf "$cache/venv"
	python3 -m venv "$cache/venv"
	"$python" -m pip install -q --disable-pip-version-check -r "${files[0]}" -r "${files[1]}"
	cat "${files[@]}" | sha256sum >"$stamp"
}

# step SDK MODE COMMAND...: runs a driver and takes its rows in. One that fails
# without a broken row of its own is a row by itself.
step() {
	local sdk=$1 mode=$2 status=0 out=$logs/$1-$2.out
	wanted "$sdk/$mode" || return 0
	CONFORMANCE_MODE=$mode timeout -k 15 "$step_seconds" "${@:3}" >"$out" 2>"$logs/$sdk-$mode.log" &
	running=$!
	wait "$running" || status=$?
	running=
	grep -a '^ROW	' "$out" >"$out.rows" || true
	cat "$out.rows" >>"$rows"
	if [ ! -s "$out.rows" ] || { [ "$status" -ne 0 ] && ! cut -f 5 "$out.rows" | grep -qx broken; }; then
		printf 'ROW\t%s\t%s\tdriver\tbroken\tstatus %s; %s\n' "$sdk" "$mode" "$status" "$(tail -n 1 "$logs/$sdk-$mode.log" | tr '\t' ' ' | cut -c 1-300)" >>"$rows"
	fi
	say "--- $sdk/$mode: $(cut -f 5 "$out.rows" | sort | uniq -c | tr -s ' \n' ' ')(${SECONDS} s since the start)"
}

main() {
	local mode script sdk
	export LIMPET_BIN PYTHONPATH=$sdk_py PYTHONDONTWRITEBYTECODE=1
	LIMPET_BIN=$(realpath -m "${LIMPET_BIN:-bin/limpet}")
	if [ ! -x "$LIMPET_BIN" ]; then
		say "no $LIMPET_BIN: build it first (make build), or name one in LIMPET_BIN"
		exit 1
	fi
	mkdir -p "$logs"
	: >"$rows"
	set_up_node
	set_up_python
	for mode in calm kills; do
		step typescript "$mode" env -C "$own_ts" node --import tsx main.ts
		step python "$mode" "$python" "$own_py/drive.py"
		for script in tests/conformance/run-*.sh; do
			[ -x "$script" ] || continue
			sdk=${script##*/run-}
			step "${sdk%.sh}" "$mode" "$script" "$mode"
		done
	done
	say
	python3 tests/conformance/table.py "$rows" "$cache/conformance.tsv"
}

main
