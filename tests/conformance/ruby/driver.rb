# frozen_string_literal: true

# Starts runs and prints one row for each promise, judged by what the workers'
# task bodies answered. Usage: driver.rb calm|kills SIZE SECONDS

require "timeout"
require_relative "promises"
require_relative "ledger"

# Plays every workflow several times at once, again and again until the deadline.
class Driver
  # How long a run may take; the SDK's own wait has no limit.
  PATIENCE = 60

  def initialize(ledger)
    @ledger = ledger
    @set = Promises.declare
  end

  # Each line of runs goes on by itself: one that hangs holds up no other.
  def play(size, seconds)
    deadline = now + seconds
    kinds = [
      -> { same("soft-same-worker", :soft) }, -> { same("hard-same-worker", :hard) },
      -> { retries(:flaky_soft) }, -> { retries(:flaky_hard) }, -> { family }, -> { page }
    ]
    lines = (kinds * size).map do |kind|
      Thread.new do
        loop do
          kind.call
          break if now > deadline
        end
      end
    end
    lines.each(&:join)
  end

  private

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # Runs a workflow and hands on its result; books an error under the promise.
  def answer(promise, workflow)
    yield Timeout.timeout(PATIENCE) { workflow.run }
  rescue StandardError => e
    @ledger.failed(promise, e)
  end

  def together?(*places)
    workers = places.map { |place| place && place["worker"].to_s }
    workers.uniq.length == 1 && !workers.first.to_s.empty?
  end

  def same(promise, kind)
    answer(promise, @set[kind]) do |result|
      left, right, join = result.values_at("left", "right", "join")
      @ledger.seen(left, right, join)
      @ledger.check(promise, together?(left, right, join), result.inspect)
      @ledger.check("parallel-roots-together", together?(left, right), result.inspect)
      @ledger.overlap if left["from"] <= right["to"] && right["from"] <= left["to"]
    end
  end

  # Holds a task's attempts against the memory of the worker that ended it. An
  # attempt that ran elsewhere is missing there. A lost report may cost one more.
  def retries(kind)
    promise = "retries-stay-on-the-worker"
    answer(promise, @set[kind]) do |result|
      left, flaky = result.values_at("left", "flaky")
      @ledger.seen(left, flaky)
      @ledger.check(promise, together?(left, flaky) && whole?(flaky["seen"]), result.inspect)
    end
  end

  def whole?(seen)
    seen.uniq.sort == (0..seen.max).to_a && seen.max >= Promises::FAILURES
  end

  def family
    promise = "child-on-parents-worker"
    answer(promise, @set[:family]) do |result|
      parent = result["parent"]
      @ledger.seen(parent, *parent["children"])
      @ledger.check(promise, parent["children"].length == 2 && together?(parent, *parent["children"]), result.inspect)
      tell_limits(parent)
    end
  end

  # What this SDK cannot show: the flag does not leave it, so no server can
  # tell such a child from one that may run anywhere.
  def tell_limits(parent)
    why = "the SDK sends no desired worker for a sticky child, so the server cannot refuse it"
    saw = parent["plain"].empty? ? "the child ran" : "it failed: #{parent["plain"]}"
    @ledger.cannot("child-refused-without-strategy", "#{why} (observed: #{saw})")
    @ledger.cannot("child-refused-not-registered", why)
    note = parent["page"].empty? ? "ctx.worker.id works" : "with ctx.worker_id: the page's ctx.worker.id raises #{parent["page"]} in the SDK"
    @ledger.note("snippet", note)
  end

  # The documentation's two snippets, which are one workflow with its child.
  def page
    answer("snippet", STICKY_WORKFLOW) do |result|
      places = result.values_at("step1a", "step1b", "step2")
      child = { "worker" => result.dig("step2", "child") }
      @ledger.check("snippet", together?(*places, child), result.inspect)
    end
  end
end

mode = ARGV.fetch(0)
ledger = Ledger.new(strict: mode == "calm")
Driver.new(ledger).play(ARGV.fetch(1).to_i, ARGV.fetch(2).to_f)
origin = ENV["HATCHET_RUBY_LIB"] ? "a given copy of its source, not the gem" : "the gem"
ledger.note("snippet", "SDK #{Hatchet::VERSION}, #{origin}")
ledger.print($stdout, mode)
