package query

import (
	"context"
	"sort"
	"sync"

	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// Follower is one client's way along the feed. It is for one goroutine.
type Follower struct {
	feed *Feed
	at   eventlog.Position // the last position handed out
	once sync.Once
}

// Follow begins behind a position, which may lie ahead of the feed: then the
// first event handed out is the one behind it. Its error is ErrOverloaded when
// as many follow as may, or ErrFollowingEnds. The caller ends it with Close.
func (f *Feed) Follow(after eventlog.Position) (*Follower, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ending.Err() != nil:
		return nil, ErrFollowingEnds
	case f.followers >= f.cfg.MaxFollowers:
		return nil, ErrOverloaded
	}
	f.followers++
	if f.followers == 1 {
		f.watch.Wake()
	}
	return &Follower{feed: f, at: after}, nil
}

// Followers is how many follow now.
func (f *Feed) Followers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.followers
}

// Close ends following.
func (o *Follower) Close() {
	o.once.Do(func() {
		o.feed.mu.Lock()
		defer o.feed.mu.Unlock()
		o.feed.followers--
	})
}

// OnEnd has fn called, in a goroutine of its own, when the process sends its
// followers away; stop takes that back, unless fn has begun.
func (o *Follower) OnEnd(fn func()) (stop func() bool) { return context.AfterFunc(o.feed.ending, fn) }

// Next waits for events behind the last that was handed out and returns them:
// each position once, in order, whether they come from the past or are new. It
// ends with ctx, or with ErrFollowingEnds.
func (o *Follower) Next(ctx context.Context) ([]FeedItem, error) {
	for {
		items, behind, news := o.feed.behind(o.at)
		if len(items) == 0 && behind {
			var err error
			if items, err = o.history(ctx); err != nil {
				return nil, err
			}
		}
		if n := len(items); n > 0 {
			o.at = items[n-1].Position
			return items, nil
		}
		select {
		case <-o.feed.ending.Done():
			return nil, ErrFollowingEnds
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-news:
		}
	}
}

// behind returns up to a handful of what is kept behind a position, or that
// some of it is not kept, and what to wait for when there is neither.
func (f *Feed) behind(at eventlog.Position) (items []FeedItem, past bool, news <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.watching || at < f.base {
		return nil, true, f.news
	}
	first := sort.Search(len(f.kept), func(i int) bool { return f.kept[i].Position > at })
	items = f.kept[first:min(first+handful, len(f.kept))]
	return items[:len(items):len(items)], false, f.news
}

// history reads a handful from the read model.
func (o *Follower) history(ctx context.Context) ([]FeedItem, error) {
	if err := o.feed.past.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer o.feed.past.Release(1)
	notices, err := o.feed.Page(ctx, o.at, handful)
	if err != nil {
		return nil, err
	}
	return render(notices)
}
