package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ebrahem-outlook/customer-service/internal/crash"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
	"github.com/ebrahem-outlook/customer-service/internal/lifecycle"
)

const (
	// integrationName is what the integration relay's checkpoint is kept under.
	// Its order is the global one, so it has a single lane.
	integrationName = "integration"
	integrationLane = eventlog.Lane(0)

	// integrationPage is how many notices are published before the checkpoint
	// moves: four of the publisher's windows, which hide the checkpoint's cost
	// behind 1,024 messages when there is a backlog.
	integrationPage = 1024
)

// The metadata of a notice's message, which become its headers: the attributes
// of CloudEvents 1.0 in binary mode. The AMQP binding is written for AMQP 1.0;
// what it calls application properties are headers in 0-9-1, and RabbitMQ turns
// one into the other. Version 1.0.2 of the binding knows the prefix with a colon
// alone; drafts since then also let an underscore pass and ask consumers to
// understand both, but let no message have both.
//
// Every value is a string: a CloudEvents integer ends at 2³¹, and there are
// clients that refuse headers of any other type.
const (
	AttributePrefix      = "cloudEvents:"
	AttributeSpecVersion = AttributePrefix + "specversion"
	AttributeID          = AttributePrefix + "id"
	AttributeSource      = AttributePrefix + "source"
	AttributeType        = AttributePrefix + "type" // also the routing key
	AttributeSubject     = AttributePrefix + "subject"
	AttributeTime        = AttributePrefix + "time"
	AttributePosition    = AttributePrefix + "position"
	AttributeVersion     = AttributePrefix + "version"
	// HeaderTraceParent has no prefix: it is what tracing libraries look for.
	HeaderTraceParent = "traceparent"
)

// integration tells other services of events, one message each, in the order of
// positions. It runs for one term.
type integration struct {
	deps  Deps
	end   context.CancelCauseFunc
	fence Fence
	at    eventlog.Position // the last position the broker confirmed
	loop  *lifecycle.Loop
}

func newIntegration(deps Deps, end context.CancelCauseFunc) *integration {
	i := &integration{deps: deps, end: end}
	i.loop = lifecycle.NewLoop("integration", deps.Logger, i.once)
	return i
}

func (i *integration) begin(ctx context.Context, fence Fence) error {
	at, err := i.deps.Checkpoints.BeginRelay(ctx, fence, integrationName, 1)
	if err != nil {
		return err
	}
	i.fence, i.at = fence, at[integrationLane]
	return nil
}

func (i *integration) start(ctx context.Context) error { return i.loop.Start(ctx) }

func (i *integration) wake([]eventlog.Lane) { i.loop.Wake() }

func (i *integration) stop(ctx context.Context) error { return i.loop.Stop(ctx) }

// once tells of what is there, up to a page. The checkpoint moves only after
// all of it is confirmed; when it does not, the same messages go out again under
// the same ids.
func (i *integration) once(ctx context.Context) (time.Duration, error) {
	notices, err := i.deps.Notices.ReadNotices(ctx, i.at, integrationPage)
	if err != nil {
		return 0, err
	}
	if len(notices) == 0 {
		return laneSweep, nil
	}
	messages := make([]*message.Message, len(notices))
	for n, notice := range notices {
		if messages[n], err = NewNoticeMessage(ctx, notice); err != nil {
			return 0, err
		}
	}
	crash.Here(crash.IntegrationBeforePublish)
	if err := i.deps.Integration.Publish(eventlog.NoticeTopic, messages...); err != nil {
		return 0, err
	}
	last := notices[len(notices)-1].Position
	crash.Here(crash.IntegrationAfterConfirm)
	err = i.deps.Checkpoints.Advance(ctx, i.fence, integrationName, integrationLane, last)
	if errors.Is(err, ErrFenced) {
		i.end(err)
		return laneSweep, nil
	}
	if err != nil {
		return 0, err
	}
	i.at = last
	if len(notices) == integrationPage {
		return 0, nil
	}
	return laneSweep, nil // what came meanwhile has woken the loop already
}

// NewNoticeMessage is the message that tells of one event. Its id is the
// event's, so that a message sent twice has one id.
func NewNoticeMessage(ctx context.Context, n eventlog.Notice) (*message.Message, error) {
	body, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("notice at %d: %w", n.Position, err)
	}
	msg := message.NewMessageWithContext(ctx, n.ID.String(), body)
	for k, v := range map[string]string{
		AttributeSpecVersion: "1.0",
		AttributeID:          n.ID.String(),
		AttributeSource:      eventlog.NoticeSource,
		AttributeType:        n.Type,
		AttributeSubject:     n.CustomerID.String(),
		AttributeTime:        n.Time.UTC().Format(time.RFC3339Nano),
		AttributePosition:    strconv.FormatInt(int64(n.Position), 10),
		AttributeVersion:     strconv.FormatInt(int64(n.Version), 10),
		headerContentType:    eventlog.NoticeContentType,
	} {
		msg.Metadata.Set(k, v)
	}
	if n.TraceParent != "" {
		msg.Metadata.Set(HeaderTraceParent, n.TraceParent)
	}
	return msg, nil
}
