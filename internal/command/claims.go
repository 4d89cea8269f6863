package command

import (
	"context"
	"fmt"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// The domains of the keyed digests made here. They are part of what is stored:
// changing one makes every claim or idempotency key unknown.
const (
	digestEmail          = "claim/email"
	digestExternalID     = "claim/external-id"
	digestIdempotencyKey = "idempotency-key"
)

// ClaimReader tells who holds claims, without taking any: holders[i] is the
// customer that holds claims[i], or the zero id.
type ClaimReader interface {
	ClaimHolders(ctx context.Context, claims []eventlog.Claim) (holders []customer.ID, err error)
}

// claims is what the customer's way from before to after takes and frees.
func (s *Service) claims(before, after customer.State) (take, free []eventlog.Claim) {
	had, has := before.HoldsClaims(), after.HoldsClaims()
	move := func(kind eventlog.ClaimKind, domain, was, is string) {
		if was == is {
			return
		}
		if was != "" {
			free = append(free, eventlog.Claim{Kind: kind, Digest: s.keys.Digest(domain, []byte(was))})
		}
		if is != "" {
			take = append(take, eventlog.Claim{Kind: kind, Digest: s.keys.Digest(domain, []byte(is))})
		}
	}
	if had != has || before.Email() != after.Email() { // folding an address costs more than most commands
		move(eventlog.ClaimEmail, digestEmail, emailHeld(before), emailHeld(after))
	}
	move(eventlog.ClaimExternalID, digestExternalID, externalIDHeld(before), externalIDHeld(after))
	return take, free
}

func emailHeld(c customer.State) string {
	if !c.HoldsClaims() {
		return ""
	}
	return c.Email().Canonical()
}

func externalIDHeld(c customer.State) string {
	if !c.HoldsClaims() {
		return ""
	}
	return string(c.ExternalID())
}

func taken(kind eventlog.ClaimKind) error {
	switch kind {
	case eventlog.ClaimEmail:
		return ErrEmailTaken
	case eventlog.ClaimExternalID:
		return ErrExternalIDTaken
	default:
		return fmt.Errorf("claim of unknown kind %d is taken", kind)
	}
}
