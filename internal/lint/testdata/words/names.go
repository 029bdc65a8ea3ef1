package planted

type StepRunID string // want "say task run"

type Engine struct { // want "say node or leader"
	Permits   int // want "say slot"
	permit    int
	Permitted bool
}

type Broken interface {
	FindAllocation() string // want "say assignment"
}

const MaxExecutors = 1 // want "say worker"

var WORKER_AFFINITY = "" // want "say pin"

func NewHTTPBroker(Broker int) { // want "say node"
	Engine := Broker
	_ = Engine
}

func (e Engine) JobRuns() {} // want "say task run"

func StepsRun()     {}
func Breakers()     {}
func EngineeredIn() {}
