package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
)

// Damage is what can happen to a link.
type Damage string

// What the network does to data and connections.
const (
	Latency     Damage = "latency"      // 100 to 300 ms each way
	Bandwidth   Damage = "bandwidth"    // 1 to 50 kB/s
	Slicer      Damage = "slicer"       // data comes in crumbs
	Stall       Damage = "stall"        // nothing passes, and all of it does afterwards: a partition that TCP outlives
	HalfOpen    Damage = "half-open"    // data is lost and connections stay open, until the end resets them
	OneWay      Damage = "one-way"      // as half-open in one direction, while the other works
	ResetPeer   Damage = "reset-peer"   // connections are reset again and again
	LostReplies Damage = "lost-replies" // again and again requests pass, replies are lost and connections reset
	Refused     Damage = "refused"      // nobody listens
)

// Damages are all of them.
func Damages() []Damage {
	return []Damage{Latency, Bandwidth, Slicer, Stall, HalfOpen, OneWay, ResetPeer, LostReplies, Refused}
}

// waves are how long replies are lost at a time and how long the link then
// works, so that clients have connected and sent commands when the next comes.
const (
	waveLosing  = 60 * time.Millisecond
	waveWorking = 240 * time.Millisecond
)

// changeLimit is how long a change waits for pipes to follow it. They do so at
// once unless a process that reads from one is stopped.
const changeLimit = time.Second

// Break does damage to links until ctx ends, and mends them then. It returns
// when that has begun, with what exactly it does and a function that waits until all is mended.
func Break(ctx context.Context, links []*Link, damage Damage, rnd *rand.Rand) (detail string, mended func() error, err error) {
	var up, down toxics.Toxic
	lossy := false
	switch damage {
	case Latency:
		slow := &toxics.LatencyToxic{Latency: 200, Jitter: 100}
		up, down, detail = slow, slow, "200 ms ± 100 each way"
	case Bandwidth:
		rate := 1 + rnd.Int64N(50)
		narrow := &toxics.BandwidthToxic{Rate: rate}
		up, down, detail = narrow, narrow, fmt.Sprintf("%d kB/s", rate)
	case Slicer:
		crumbs := &toxics.SlicerToxic{AverageSize: 32, SizeVariation: 16, Delay: 500}
		up, down, detail = crumbs, crumbs, "16 to 48 bytes each 0.5 ms"
	case Stall:
		shut := &toxics.BandwidthToxic{Rate: 0}
		up, down = shut, shut
	case HalfOpen:
		hole := new(toxics.TimeoutToxic)
		up, down, lossy = hole, hole, true
	case OneWay:
		up, down, lossy, detail = new(toxics.TimeoutToxic), nil, true, "requests are lost"
		if rnd.IntN(2) == 0 {
			up, down, detail = down, up, "replies are lost"
		}
	case ResetPeer, LostReplies, Refused:
	default:
		return "", nil, fmt.Errorf("there is no damage %q", damage)
	}
	set := func(up, down toxics.Toxic, lossy bool) {
		var last []*turn
		for _, k := range links {
			last = append(last, k.up.set(orOpen(up), lossy && up != nil), k.down.set(orOpen(down), lossy && down != nil))
		}
		bounded, cancel := context.WithTimeout(context.Background(), changeLimit)
		defer cancel()
		for _, t := range last {
			t.left(bounded)
		}
	}
	each := func(do func(*Link)) {
		for _, k := range links {
			do(k)
		}
	}
	done := make(chan error, 1)
	switch damage {
	case Refused:
		each((*Link).refuse)
		go func() {
			<-ctx.Done()
			done <- revive(links)
		}()
	case ResetPeer:
		delay := time.Duration(rnd.Int64N(300)) * time.Millisecond
		go func() {
			for pause(ctx, delay+20*time.Millisecond) {
				each((*Link).cut)
			}
			done <- nil
		}()
		detail = fmt.Sprintf("every %d ms", (delay + 20*time.Millisecond).Milliseconds())
	case LostReplies:
		go func() {
			// Times are not drawn here: how many waves there are depends on the
			// machine, and what is drawn after them must not.
			for working := true; working; working = pause(ctx, waveWorking) {
				set(nil, new(toxics.TimeoutToxic), true)
				pause(ctx, waveLosing)
				each((*Link).cut)
				set(nil, nil, false)
			}
			done <- nil
		}()
		detail = fmt.Sprintf("%d ms in every %d", waveLosing.Milliseconds(), (waveLosing + waveWorking).Milliseconds())
	default:
		set(up, down, lossy)
		go func() {
			<-ctx.Done()
			if lossy {
				each((*Link).cut)
			}
			set(nil, nil, false)
			done <- nil
		}()
	}
	return detail, func() error { return <-done }, nil
}

func orOpen(toxic toxics.Toxic) toxics.Toxic {
	if toxic == nil {
		return new(toxics.NoopToxic)
	}
	return toxic
}

func revive(links []*Link) error {
	for _, k := range links {
		if err := k.accept(); err != nil {
			return err
		}
	}
	return nil
}

// pause waits, and tells whether ctx is still going on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
