# frozen_string_literal: true

# A long-lived worker. Start several: every run stays on the one it began on.

require_relative "workflows"

name = ARGV.fetch(0, "ruby-#{Process.pid}")
HATCHET.worker(name, slots: 10, workflows: [STICKY_WORKFLOW, STICKY_CHILD_WORKFLOW]).start
