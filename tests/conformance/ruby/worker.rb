# frozen_string_literal: true

# Offers the workflows of the promises and those of the example. Its slots are
# more than there are runs at a time, so that no run has a reason to move.

require_relative "promises"

workflows = [*Promises.declare.values, STICKY_WORKFLOW, STICKY_CHILD_WORKFLOW]
HATCHET.worker(ARGV.fetch(0), slots: 60, workflows: workflows).start
