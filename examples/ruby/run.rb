# frozen_string_literal: true

# Starts the workflow once and says which workers its tasks ran on. Ends with
# status 1 if the run was spread over more than one worker.

require_relative "workflows"

result = STICKY_WORKFLOW.run
places = result.transform_values { |output| output["worker"] }
places["child"] = result.dig("step2", "child")
kept = places.length == 4 && places.values.uniq.length == 1 && !places.value?(nil)
where = places.map { |task, worker| "#{task} on #{worker}" }.join(", ")
puts "#{kept ? "kept  " : "SPREAD"}  StickyWorkflow: #{where}"
exit kept
