# frozen_string_literal: true

# The workflows that show whether sticky assignment keeps its promises. Worker
# and driver declare the same ones, and those of the example.

require_relative "../../../examples/ruby/workflows"

# Where and when task bodies ran, as they tell it themselves.
module Promises
  # Long enough for two parallel roots to be seen at the same time.
  BODY_SECONDS = 0.2
  # So many attempts of a flaky task fail before one succeeds.
  FAILURES = 2

  # One worker process's memory of attempts: another process does not have it.
  class Memory
    def initialize
      @mutex = Mutex.new
      @seen = Hash.new { |all, run| all[run] = [] }
    end

    def add(run, attempt)
      @mutex.synchronize { (@seen[run] << attempt).dup }
    end
  end

  module_function

  def now
    (Time.now.to_f * 1000).to_i
  end

  # What a body answers: the worker's id as the SDK gives it, its process, times.
  def place(ctx, seconds = 0)
    from = now
    sleep(seconds)
    { "worker" => ctx.worker_id, "process" => Process.pid, "from" => from, "to" => now }
  end

  # Two parallel roots and a task that waits for both.
  def dag(strategy)
    workflow = HATCHET.workflow(name: "conformance-ruby-#{strategy}", sticky: strategy)
    roots = %i[left right].map do |name|
      workflow.task(name) { |_input, ctx| place(ctx, BODY_SECONDS) }
    end
    workflow.task(:join, parents: roots) { |_input, ctx| place(ctx, BODY_SECONDS) }
    workflow
  end

  # A task whose first attempts fail, after a root that pins the run.
  def flaky(strategy)
    memory = Memory.new
    workflow = HATCHET.workflow(name: "conformance-ruby-flaky-#{strategy}", sticky: strategy)
    left = workflow.task(:left) { |_input, ctx| place(ctx, BODY_SECONDS) }
    workflow.task(:flaky, parents: [left], retries: FAILURES + 1) do |_input, ctx|
      seen = memory.add(ctx.step_run_id, ctx.retry_count)
      raise "attempt #{ctx.retry_count} fails on purpose" if ctx.retry_count < FAILURES

      place(ctx).merge("seen" => seen)
    end
    workflow
  end

  def child(name, strategy)
    workflow = HATCHET.workflow(name: "conformance-ruby-#{name}", sticky: strategy)
    workflow.task(:where) { |_input, ctx| place(ctx) }
    workflow
  end

  def spawn(workflow)
    ref = workflow.run_no_wait(options: Hatchet::TriggerWorkflowOptions.new(sticky: true))
    ref.result["where"]
  end

  # Spawns two sticky children, and one that declares no strategy; tells also
  # what the documentation's `ctx.worker.id` does.
  def family(sticky_child, plain_child)
    workflow = HATCHET.workflow(name: "conformance-ruby-family", sticky: :hard)
    workflow.task(:parent) do |_input, ctx|
      children = Array.new(2) { spawn(sticky_child) }
      place(ctx).merge("children" => children, "plain" => refusal(plain_child), "page" => page(ctx))
    end
    workflow
  end

  def refusal(workflow)
    spawn(workflow)
    ""
  rescue StandardError => e
    e.message
  end

  def page(ctx)
    ctx.worker.id
    ""
  rescue StandardError => e
    e.class.name
  end

  # All of them, by the name that the driver uses.
  def declare
    sticky_child = child("child", :soft)
    plain_child = child("plain", nil)
    {
      soft: dag(:soft), hard: dag(:hard), flaky_soft: flaky(:soft), flaky_hard: flaky(:hard),
      family: family(sticky_child, plain_child), child: sticky_child, plain: plain_child
    }
  end
end
