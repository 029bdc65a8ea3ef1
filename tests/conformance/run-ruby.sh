#!/usr/bin/env bash
# The published Ruby SDK against three real nodes. Usage: run-ruby.sh [calm|kills].
# Prints rows on standard output: ROW, SDK, mode, promise, kept|broken|n/a, note.
#
# LIMPET_BIN names the binary (bin/limpet if unset). HATCHET_RUBY_LIB names the
# lib folder of an SDK that is there already; without it the gem is installed
# into .cache/gems, beside Debian's gRPC, whose gem takes too long to build.
# Where it cannot be installed the rows say so. Logs: .cache/conformance/ruby.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sdk=ruby
mode=${1:-calm}
work=$root/.cache/conformance/ruby/$mode
debian=(ruby ruby-grpc ruby-concurrent ruby-marcel)
export GEM_HOME=$root/.cache/gems

# shellcheck source=go/cluster.sh
. "$root/tests/conformance/go/cluster.sh"

case $mode in
calm) load=(5 0) ;;
kills) load=(3 "$storm_seconds") ;;
*) say "usage: run-ruby.sh [calm|kills]" && exit 2 ;;
esac
mkdir -p "$work"

last_line() { tail -n 1 "$1" | tr '\t' ' ' | cut -c 1-300; }

# Why gem failed, without the registry's address.
gem_error() {
	grep -v '^ *$' "$work/gem.log" | tail -n 1 | tr '\t' ' ' |
		sed -E 's/^ +//; s#\(?https?://[^ )]*\)?##g; s/[a-z0-9.-]+\.[a-z]+:[0-9]+/the gem registry/' | cut -c 1-200
}

# Debian's Ruby and what of the gem's dependencies it has.
set_up_debian() {
	ruby -e 'require "grpc"; require "concurrent"; require "marcel"' 2>/dev/null && return 0
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "no Ruby with gRPC, and no root with apt-get to install ${debian[*]}"
		return 1
	fi
	{
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${debian[@]}"
	} >"$work/apt.log" 2>&1 && return 0
	echo "Debian's ${debian[*]} cannot be installed: $(last_line "$work/apt.log")"
	return 1
}

# Prints the SDK's lib folder. The gem is used by its path and not activated:
# it asks for newer libraries than Debian's, with which it runs all the same.
set_up_sdk() {
	local lib
	if [ -n "${HATCHET_RUBY_LIB:-}" ]; then
		lib=$HATCHET_RUBY_LIB
	else
		lib=$(compgen -G "$GEM_HOME/gems/hatchet-sdk-*/lib" | sort -V | tail -n 1 || true)
	fi
	if [ -z "$lib" ]; then
		if ! gem install hatchet-sdk --no-document --ignore-dependencies >"$work/gem.log" 2>&1; then
			echo "the gem hatchet-sdk cannot be installed: $(gem_error)"
			return 1
		fi
		lib=$(compgen -G "$GEM_HOME/gems/hatchet-sdk-*/lib" | sort -V | tail -n 1)
	fi
	if ! ruby -I"$lib" -e 'require "hatchet-sdk"; Hatchet::Client' 2>"$work/load.log"; then
		echo "the SDK in $lib does not load: $(head -n 1 "$work/load.log" | tr '\t' ' ' | cut -c 1-300)"
		return 1
	fi
	echo "$lib"
}

if ! reason=$(set_up_debian) || ! reason=$(set_up_sdk); then
	no_rows "$reason"
	# The same calls all the same, from a client that knows no SDK; in calm only,
	# since it does not connect anew as the SDK does.
	[ "$mode" = calm ] && [ -x "$root/.cache/venv/bin/python" ] || exit 0
	trap end_all EXIT
	trap 'exit 130' INT TERM HUP
	start_cluster
	HATCHET_CLIENT_HOST_PORT=$(nodes_from 2) timeout -k 10 120 "$root/.cache/venv/bin/python" \
		"$root/tests/conformance/ruby/wire.py" "$mode" "$reason" 2>"$work/wire.log" || {
		tail -n 5 "$work/wire.log" >&2
		exit 1
	}
	exit 0
fi
lib=$reason

trap end_all EXIT
trap 'exit 130' INT TERM HUP
start_cluster
start_workers ruby -I"$lib" "$root/tests/conformance/ruby/worker.rb"
watch_nodes
status=0
timeout -k 10 240 ruby -I"$lib" "$root/tests/conformance/ruby/driver.rb" "$mode" "${load[@]}" \
	>"$work/driver.out" 2>"$work/driver.log" || status=$?
grep '^ROW' "$work/driver.out" || no_rows "the driver ended with status $status: $(last_line "$work/driver.log")"
exit "$status"
