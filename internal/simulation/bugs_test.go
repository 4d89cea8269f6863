package simulation_test

// bug is a mistake planted in what surrounds the product, to see that the
// checks would find it in the product.
type bug int

const (
	bugNone              bug = iota
	bugIdentityCursor        // the sequencer reads after the highest id it has seen
	bugTransactionOrder      // it orders by transaction
	bugNoConfirms            // a publisher says done before it is
	bugAckFirst              // a message is acknowledged before it is handled
	bugCheckpointOutside     // a checkpoint is committed before its rows
	bugIgnorePrevious        // a message does not say what it follows
	bugSkipUnknown           // an unknown event is taken for one that changes nothing
	bugLastWriteWins         // the cache takes older entries
	bugFillWithoutLease      // and late fills
	bugSameRunID             // and comes back with old memory as if nothing was
	bugNoAnnouncements       // and tells nobody
	bugSameEpoch             // another server is trusted with the keys of the one before
	bugFeedWithoutLock       // two projectors extend the event feed at once
)

var bugNames = map[bug]string{
	bugIdentityCursor: "identity cursor", bugTransactionOrder: "order of transactions", bugNoConfirms: "no confirms",
	bugAckFirst: "acknowledged before commit", bugCheckpointOutside: "checkpoint outside the transaction",
	bugIgnorePrevious: "previous position ignored", bugSkipUnknown: "unknown event skipped",
	bugLastWriteWins: "last write wins in the cache", bugFillWithoutLease: "fill without a lease",
	bugSameRunID: "restart unnoticed", bugNoAnnouncements: "no announcements",
	bugSameEpoch: "no new epoch", bugFeedWithoutLock: "event feed without its lock",
}

// provoke makes a run one that a mistake is likely to show in: most of them
// need one thing to be slow, or one kind of fault to be frequent.
func (b bug) provoke(s *scenario) {
	often := func(faulty, kind int) { s.faulty, s.faults[kind] = faulty, 12 }
	switch b {
	case bugIdentityCursor:
		s.slow = "append.commit"
	case bugTransactionOrder:
		s.slow = "tick.snapshot"
	case bugIgnorePrevious:
		often(40, faultQueue)
	case bugLastWriteWins:
		s.slow = "cache.store"
	case bugFillWithoutLease:
		s.slow = "cache.fill"
	case bugSameRunID, bugSameEpoch:
		often(8, faultCache)
	case bugNone, bugNoConfirms, bugAckFirst, bugCheckpointOutside, bugSkipUnknown, bugNoAnnouncements, bugFeedWithoutLock:
	}
}
