# frozen_string_literal: true

# Counts what was observed of each promise and prints the rows.
class Ledger
  PROMISES = %w[
    snippet soft-same-worker hard-same-worker parallel-roots-together child-on-parents-worker
    child-refused-without-strategy child-refused-not-registered retries-stay-on-the-worker
    worker-id-equal-in-all-tasks
  ].freeze

  # With strict, a call that failed breaks its promise: nothing disturbs the cluster.
  def initialize(strict:)
    @strict = strict
    @mutex = Mutex.new
    @kept = Hash.new(0)
    @broken, @missed, @ids, @notes = Array.new(4) { Hash.new { |all, key| all[key] = [] } }
    @silent = {}
    @tasks = @overlaps = 0
  end

  def check(promise, kept, text)
    @mutex.synchronize { kept ? @kept[promise] += 1 : @broken[promise] << text }
  end

  # A run that ended with an error shows nothing of where it ran.
  def failed(promise, error)
    text = "#{error.class}: #{error.message}".sub(/debug_error_string:.*/m, "")
    @mutex.synchronize { (@strict ? @broken : @missed)[promise] << text }
  end

  # A promise that this SDK cannot show, and why.
  def cannot(promise, why)
    @mutex.synchronize { @silent[promise] = why }
  end

  def note(promise, text)
    @mutex.synchronize { @notes[promise] |= [text] }
  end

  def overlap
    @mutex.synchronize { @overlaps += 1 }
  end

  def seen(*places)
    @mutex.synchronize do
      places.each do |place|
        @tasks += 1
        @ids[place["process"]] |= [place["worker"]]
      end
    end
  end

  def print(out, mode)
    judge_ids
    PROMISES.each do |promise|
      verdict, parts = judge(promise)
      note = [*parts, *misses(promise), *@notes[promise]].join("; ").split.join(" ")
      out.puts ["ROW", "ruby", mode, promise, verdict, note[0, 600]].join("\t")
    end
  end

  private

  # One id for each process, never empty, never shared.
  def judge_ids
    promise = "worker-id-equal-in-all-tasks"
    @ids.each do |process, ids|
      check(promise, ids.length == 1 && !ids.first.to_s.empty?, "process #{process} gave its tasks the ids #{ids}")
    end
    all = @ids.values.flatten
    check(promise, false, "processes share ids: #{all}") if all.uniq.length < all.length
    note(promise, "#{@tasks} tasks in #{@ids.length} worker processes")
    note("parallel-roots-together", "#{@overlaps} pairs were seen at the same time")
  end

  def judge(promise)
    return ["n/a", [@silent[promise]]] if @silent[promise]

    broken = @broken[promise]
    observed = "#{@kept[promise] + broken.length} observed"
    return ["broken", [observed, "#{broken.length} broken, the first: #{broken.first}"]] if broken.any?
    return ["n/a", ["nothing was observed"]] if @kept[promise].zero?
    return ["n/a", [observed, "all runs went to one worker: nothing was shown"]] if @ids.length < 2

    ["kept", [observed]]
  end

  def misses(promise)
    missed = @missed[promise]
    missed.empty? ? [] : ["#{missed.length} runs failed, the first: #{missed.first}"]
  end
end
