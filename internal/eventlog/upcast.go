package eventlog

// Upcaster brings one event's opened parts from one schema version to the
// next. It is pure and works on bytes, so that it needs nothing of today's
// types and stays right for ever. personal is nil when the event has no
// personal part or its key is gone, and must then stay nil.
type Upcaster func(data, personal []byte) (newData, newPersonal []byte, err error)

// step names the version an upcaster starts from.
type step struct {
	name string
	from int16
}

// upcasters are the steps between all versions there ever were. To change the
// stored form of an event: raise its version in schemas, add the step here,
// and add a golden file; never edit an old one.
func upcasters() map[step]Upcaster { return map[step]Upcaster{} }
