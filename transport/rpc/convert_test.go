package rpc

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func TestDurationTextsAreParsed(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{"", 0, false},
		{"60s", time.Minute, false},
		{"5m", 5 * time.Minute, false},
		{"1h30m", 90 * time.Minute, false},
		{"1d", 24 * time.Hour, false},
		{"2w", 14 * 24 * time.Hour, false},
		{"1d12h", 36 * time.Hour, false},
		{"1.5d", 36 * time.Hour, false},
		{"250ms", 250 * time.Millisecond, false},
		{"60", 0, true},
		{"-1s", 0, true},
		{"d", 0, true},
		{"1dx", 0, true},
		{"99999999w", 0, true},
		{"soon", 0, true},
	} {
		got, err := checkDuration("timeout", c.text)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%q gives %v, %v; want %v", c.text, got, err, c.want)
		}
		if c.bad && !strings.Contains(err.Error(), `timeout "`+c.text+`"`) {
			t.Errorf("%q: the error does not name field and value: %v", c.text, err)
		}
	}
}

func TestACurrentDefinitionIsKeptWhole(t *testing.T) {
	sticky := compatv1.StickyStrategy_SOFT
	got, err := definition(&compatv1.CreateWorkflowVersionRequest{
		Name: "Sticky", Description: "d", Version: "v", EventTriggers: []string{"e"}, CronTriggers: []string{"* * * * *"},
		CronInput: new("{}"), Sticky: &sticky, DefaultPriority: proto.Int32(2),
		Concurrency:     &compatv1.Concurrency{Expression: "input.a"},
		ConcurrencyArr:  []*compatv1.Concurrency{{Expression: "input.a"}, {Expression: "input.b", MaxRuns: proto.Int32(3)}},
		DefaultFilters:  []*compatv1.DefaultFilter{{Expression: "true", Scope: "s", Payload: []byte("{}")}},
		InputJsonSchema: []byte("{}"),
		Idempotency:     &compatv1.IdempotencyConfig{Expression: "input.id", TtlMs: 1500},
		OnFailureTask:   &compatv1.CreateTaskOpts{ReadableId: "on-failure", Action: "sticky:on-failure"},
		Tasks: []*compatv1.CreateTaskOpts{{
			ReadableId: "a", Action: "Sticky:A", Timeout: "60s", ScheduleTimeout: new("1d"), Inputs: "{}", Retries: 3,
			BackoffFactor: proto.Float32(1.5), BackoffMaxSeconds: proto.Int32(60),
			WorkerLabels: map[string]*compatv1.DesiredWorkerLabels{
				"z": {IntValue: proto.Int32(5), Required: new(true), Weight: proto.Int32(7), Comparator: compatv1.WorkerLabelComparator_GREATER_THAN.Enum()},
				"b": {StrValue: new("x")},
			},
			Conditions:   &compatv1.TaskConditions{},
			SlotRequests: map[string]int32{"gpu": 2, "default": 1, "none": 0},
			RateLimits:   []*compatv1.CreateTaskRateLimit{{Key: "k", Units: proto.Int32(1), Duration: compatv1.RateLimitDuration_HOUR.Enum()}},
			Concurrency:  []*compatv1.Concurrency{{Expression: "input.c"}},
			Batch:        &compatv1.TaskBatchConfig{BatchMaxSize: 4, BatchMaxIntervalMs: proto.Int32(10)},
		}, {
			ReadableId: "b", Action: "sticky:b", Parents: []string{"a"}, IsDurable: true,
			Conditions: &compatv1.TaskConditions{SleepConditions: []*compatv1.SleepMatchCondition{{SleepFor: "1s"}}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	conditions := got.GetTasks()[1].GetConditions()
	if len(conditions) == 0 {
		t.Error("the conditions of task b are lost")
	}
	got.GetTasks()[1].Conditions = nil
	oneDefault := []*limpetv1.SlotRequest{{Type: "default", Units: 1}}
	want := &limpetv1.WorkflowDefinition{
		Name: "Sticky", Description: "d", Version: "v", EventTriggers: []string{"e"}, CronTriggers: []string{"* * * * *"}, CronInput: "{}",
		Sticky: limpetv1.Strategy_STRATEGY_SOFT, DefaultPriority: 2,
		Concurrency:     []*limpetv1.Concurrency{{Expression: "input.a", MaxRuns: 1}, {Expression: "input.b", MaxRuns: 3}},
		DefaultFilters:  []*limpetv1.DefaultFilter{{Expression: "true", Scope: "s", Payload: []byte("{}")}},
		InputJsonSchema: []byte("{}"),
		Idempotency:     &limpetv1.Idempotency{Expression: "input.id", Ttl: int64(1500 * time.Millisecond)},
		OnFailure:       &limpetv1.TaskDefinition{Name: "on-failure", Action: "sticky:on-failure", Slots: oneDefault},
		Tasks: []*limpetv1.TaskDefinition{{
			Name: "a", Action: "sticky:a", ExecutionTimeout: int64(time.Minute), ScheduleTimeout: int64(24 * time.Hour), Inputs: "{}", Retries: 3,
			BackoffFactorMilli: 1500, BackoffMax: int64(time.Minute),
			Labels: []*limpetv1.LabelWish{
				{Label: &limpetv1.Label{Key: "b", Text: "x"}, Weight: 100},
				{Label: &limpetv1.Label{Key: "z", IsNumber: true, Number: 5}, Comparator: limpetv1.Comparator_COMPARATOR_GREATER, Required: true, Weight: 7},
			},
			Slots:       []*limpetv1.SlotRequest{{Type: "default", Units: 1}, {Type: "gpu", Units: 2}},
			RateLimits:  []*limpetv1.RateLimit{{Key: "k", Units: 1, Window: 2}},
			Concurrency: []*limpetv1.Concurrency{{Expression: "input.c", MaxRuns: 1}},
			Batch:       &limpetv1.Batch{MaxSize: 4, MaxInterval: int64(10 * time.Millisecond)},
		}, {
			Name: "b", Action: "sticky:b", Parents: []string{"a"}, Durable: true, Slots: []*limpetv1.SlotRequest{{Type: "durable", Units: 1}},
		}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestStickyIsReadByItsPresence(t *testing.T) {
	hard := compatv1.StickyStrategy_HARD
	soft := compatv1.StickyStrategy_SOFT
	for _, c := range []struct {
		in   *compatv1.StickyStrategy
		want limpetv1.Strategy
	}{{nil, limpetv1.Strategy_STRATEGY_NONE}, {&soft, limpetv1.Strategy_STRATEGY_SOFT}, {&hard, limpetv1.Strategy_STRATEGY_HARD}} {
		d, err := definition(&compatv1.CreateWorkflowVersionRequest{
			Name: "w", Sticky: c.in, Tasks: []*compatv1.CreateTaskOpts{{ReadableId: "t", Action: "w:t"}},
		})
		if err != nil || d.GetSticky() != c.want {
			t.Errorf("%v gives %v, %v; want %v", c.in, d.GetSticky(), err, c.want)
		}
	}
}

func TestAFirstFormDefinitionBecomesTasks(t *testing.T) {
	hard := compat.StickyStrategy_HARD
	got, err := definitionV0(&compat.CreateWorkflowVersionOpts{
		Name: "w", Sticky: &hard, ScheduleTimeout: new("10s"),
		ScheduledTriggers: []*timestamppb.Timestamp{{Seconds: 1}},
		Concurrency:       &compat.WorkflowConcurrencyOpts{Expression: new("input.a"), MaxRuns: proto.Int32(2)},
		Jobs: []*compat.CreateWorkflowJobOpts{{Name: "j", Steps: []*compat.CreateWorkflowStepOpts{
			{ReadableId: "a", Action: "w:A", Timeout: "1m", UserData: "{}"},
			{ReadableId: "b", Action: "w:b", Parents: []string{"a"}, Retries: 1},
		}}},
		OnFailureJob: &compat.CreateWorkflowJobOpts{Steps: []*compat.CreateWorkflowStepOpts{{ReadableId: "f", Action: "w:f"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	slots := []*limpetv1.SlotRequest{{Type: "default", Units: 1}}
	wait := int64(10 * time.Second)
	want := &limpetv1.WorkflowDefinition{
		Name: "w", Sticky: limpetv1.Strategy_STRATEGY_HARD, ScheduledTriggers: []int64{int64(time.Second)},
		Concurrency: []*limpetv1.Concurrency{{Expression: "input.a", MaxRuns: 2}},
		Tasks: []*limpetv1.TaskDefinition{
			{Name: "a", Action: "w:a", ExecutionTimeout: int64(time.Minute), ScheduleTimeout: wait, UserData: "{}", Slots: slots},
			{Name: "b", Action: "w:b", Parents: []string{"a"}, Retries: 1, ScheduleTimeout: wait, Slots: slots},
		},
		OnFailure: &limpetv1.TaskDefinition{Name: "f", Action: "w:f", ScheduleTimeout: wait, Slots: slots},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestABadDefinitionIsRefusedByFieldAndValue(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*compatv1.CreateWorkflowVersionRequest)
		want   string
	}{
		{"no name", func(r *compatv1.CreateWorkflowVersionRequest) { r.Name = " " }, `name " ": must not be empty`},
		{"no tasks", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks = nil }, `tasks`},
		{"no task name", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks[0].ReadableId = "" }, `tasks[0].readable_id`},
		{"no action", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks[0].Action = "" }, `tasks[0].action`},
		{"timeout", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks[0].Timeout = "60" }, `tasks[0].timeout "60"`},
		{"retries", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks[0].Retries = -1 }, `tasks[0].retries "-1"`},
		{"backoff", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks[0].BackoffFactor = proto.Float32(0.5) }, `tasks[0].backoff_factor "0.5"`},
		{"slots", func(r *compatv1.CreateWorkflowVersionRequest) { r.Tasks[0].SlotRequests = map[string]int32{"x": -1} }, `tasks[0].slot_requests["x"] "-1"`},
		{"empty label", func(r *compatv1.CreateWorkflowVersionRequest) {
			r.Tasks[0].WorkerLabels = map[string]*compatv1.DesiredWorkerLabels{"x": {}}
		}, `tasks[0].worker_labels["x"]`},
		{"double label", func(r *compatv1.CreateWorkflowVersionRequest) {
			r.Tasks[0].WorkerLabels = map[string]*compatv1.DesiredWorkerLabels{"x": {StrValue: new("a"), IntValue: proto.Int32(1)}}
		}, "not both"},
		{"priority", func(r *compatv1.CreateWorkflowVersionRequest) { r.DefaultPriority = proto.Int32(4) }, "priority must be between 1 and 3, got 4"},
		{"sticky", func(r *compatv1.CreateWorkflowVersionRequest) { r.Sticky = compatv1.StickyStrategy(9).Enum() }, `sticky "9"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &compatv1.CreateWorkflowVersionRequest{Name: "w", Tasks: []*compatv1.CreateTaskOpts{{ReadableId: "t", Action: "w:t"}}}
			c.change(r)
			_, err := definition(r)
			var refusal *fsm.Refusal
			if !errors.As(err, &refusal) || refusal.Code != fsm.CodeInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("gives %v, want %q", err, c.want)
			}
		})
	}
}

func TestMetadataIsAnObjectOrNothing(t *testing.T) {
	for _, c := range []struct {
		text, want, fault string
	}{
		{"", "", ""},
		{"null", "", ""},
		{"{}", "", ""},
		{" { } ", "", ""},
		{`{"a":1}`, `{"a":1}`, ""},
		{"[1]", "", "must be a JSON object"},
		{"{", "", "must be valid JSON"},
		{"\xff", "", "UTF-8"},
	} {
		got, err := checkObject("additional_metadata", []byte(c.text))
		if string(got) != c.want || (err != nil) != (c.fault != "") {
			t.Errorf("%q gives %q, %v", c.text, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q gives %v, want %q", c.text, err, c.fault)
		}
	}
}

func TestAResultOverTheLimitSaysSo(t *testing.T) {
	event := &compat.WorkflowRunEvent{WorkflowRunId: "r", Results: []*compat.StepRunResult{
		{TaskName: "big", Output: new(`"` + strings.Repeat("x", 3000) + `"`)},
		{TaskName: "small", Output: new(`{"a":1}`)},
	}}
	shrink(event, 2000)
	if n := proto.Size(event); n > 2000 {
		t.Errorf("the event still has %d bytes", n)
	}
	big, small := event.GetResults()[0], event.GetResults()[1]
	if big.Output != nil || !strings.Contains(big.GetError(), `"big" (3002 bytes)`) {
		t.Errorf("the large result is %v", big)
	}
	if small.GetOutput() != `{"a":1}` || small.Error != nil {
		t.Errorf("the small result is %v", small)
	}
}

func TestRegistrationFillsInSlots(t *testing.T) {
	for _, c := range []struct {
		name string
		in   *compat.WorkerRegisterRequest
		want []*limpetv1.SlotRequest
		err  string
	}{
		{"none", &compat.WorkerRegisterRequest{}, []*limpetv1.SlotRequest{{Type: "default", Units: 100}}, ""},
		{"old", &compat.WorkerRegisterRequest{Slots: proto.Int32(5)}, []*limpetv1.SlotRequest{{Type: "default", Units: 5}}, ""},
		{
			"new", &compat.WorkerRegisterRequest{SlotConfig: map[string]int32{"durable": 2, "default": 1}},
			[]*limpetv1.SlotRequest{{Type: "default", Units: 1}, {Type: "durable", Units: 2}},
			"",
		},
		{
			"both", &compat.WorkerRegisterRequest{Slots: proto.Int32(5), SlotConfig: map[string]int32{"default": 1}}, nil,
			"either slot_config or slots (deprecated) must be provided, not both",
		},
		{"webhook", &compat.WorkerRegisterRequest{WebhookId: new("x")}, nil, "webhook workers are not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.WorkerName = "w"
			c.in.Actions = []string{"B:x", "a:x", "b:X"}
			got, err := registration("t", c.in)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("gives %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.GetSlots(), protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"a:x", "b:x"}, got.GetActions()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
