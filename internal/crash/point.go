// Package crash names the moments between two effects at which a process is
// most worth killing, and lets a run with faults kill it exactly there. A binary
// that is not built for such a run has nothing of it: Here is empty then. The
// package must not know what any of the moments are about.
package crash

// Point is a moment. It is a number so that no name is left in a shipped binary.
type Point uint8

// Of a command: around the transaction that appends it, and before it is answered.
const (
	CommandBeforeCommit Point = iota
	CommandAfterCommit        // no outcome is handed out yet
	CommandBeforeReply
	// EraseAfterCommit is when the key is gone from the log and this process has
	// yet to forget the customer.
	EraseAfterCommit

	// Of the sequencer and the relays.

	SequenceBeforeCommit
	SequenceAfterCommit // positions are given out, and nobody is told
	FeedBeforePublish
	FeedAfterConfirm // and before the checkpoint
	IntegrationBeforePublish
	IntegrationAfterConfirm

	// Of the projector.

	ProjectBeforeCommit
	ProjectBeforeCache // the read model is committed
	ProjectBeforeAck   // the cache is written
	EventFeedBeforeCommit
	EventFeedAfterCommit

	// Of what runs beside the service.

	RebuildAfterPart
	RebuildBeforeSwitch // all is locked, and nothing has moved
	RebuildAfterSwitch  // what was live before is not dropped yet
	ImportBeforeCommit
	ImportAfterCommit
	ImportBetweenBatches // the progress of the one before is saved
	RotationBetweenBatches
)

// names are of the files that arm points.
var names = [...]string{
	CommandBeforeCommit: "command-before-commit", CommandAfterCommit: "command-after-commit",
	CommandBeforeReply: "command-before-reply", EraseAfterCommit: "erase-after-commit",
	SequenceBeforeCommit: "sequence-before-commit", SequenceAfterCommit: "sequence-after-commit",
	FeedBeforePublish: "feed-before-publish", FeedAfterConfirm: "feed-after-confirm",
	IntegrationBeforePublish: "integration-before-publish", IntegrationAfterConfirm: "integration-after-confirm",
	ProjectBeforeCommit: "project-before-commit", ProjectBeforeCache: "project-before-cache", ProjectBeforeAck: "project-before-ack",
	EventFeedBeforeCommit: "event-feed-before-commit", EventFeedAfterCommit: "event-feed-after-commit",
	RebuildAfterPart: "rebuild-after-part", RebuildBeforeSwitch: "rebuild-before-switch", RebuildAfterSwitch: "rebuild-after-switch",
	ImportBeforeCommit: "import-before-commit", ImportAfterCommit: "import-after-commit", ImportBetweenBatches: "import-between-batches",
	RotationBetweenBatches: "rotation-between-batches",
}

// String is the name of the file that arms p.
func (p Point) String() string { return names[p] }

// Points are all there are, in the order in which a change passes them.
func Points() []Point {
	all := make([]Point, len(names))
	for i := range all {
		all[i] = Point(i) //nolint:gosec // a few dozen
	}
	return all
}
