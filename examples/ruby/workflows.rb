# frozen_string_literal: true

# What the worker offers and the runner starts: one definition of each workflow.

require "hatchet-sdk"

# The SDK takes token and TLS strategy from HATCHET_CLIENT_* in the environment
# and the address from the token; an address given here beats both.
HATCHET = Hatchet::Client.new(host_port: ENV.fetch("HATCHET_CLIENT_HOST_PORT", nil)) unless defined?(HATCHET)

STICKY_WORKFLOW = HATCHET.workflow(
  name: "StickyWorkflow",
  # Specify a sticky strategy when declaring the workflow
  sticky: :soft
)

STEP1A = STICKY_WORKFLOW.task(:step1a) do |_input, ctx|
  { "worker" => ctx.worker_id }
end

STEP1B = STICKY_WORKFLOW.task(:step1b) do |_input, ctx|
  { "worker" => ctx.worker_id }
end

# The child declares a strategy too: only a sticky child can follow its parent.
STICKY_CHILD_WORKFLOW = HATCHET.workflow(
  name: "StickyChildWorkflow",
  sticky: :soft
)

STICKY_WORKFLOW.task(:step2, parents: [STEP1A, STEP1B]) do |_input, ctx|
  ref = STICKY_CHILD_WORKFLOW.run_no_wait(
    options: Hatchet::TriggerWorkflowOptions.new(sticky: true)
  )

  result = ref.result

  { "worker" => ctx.worker_id, "child" => result["child"]["worker"] }
end

STICKY_CHILD_WORKFLOW.task(:child) do |_input, ctx|
  { "worker" => ctx.worker_id }
end
