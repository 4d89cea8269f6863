package query

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/eventlog"
)

// ErrInvalidCursor tells that a cursor was not made here, for this very list and
// this principal.
var ErrInvalidCursor = errors.New("invalid cursor")

const (
	cursorFormat = 1 // first byte; a new format gets a new one
	// MaxCursorLength is how long a cursor is at most, by the contract.
	MaxCursorLength = 2048
)

// sealer encrypts places: one may hold a name, and cursors are in URLs. Each
// cursor has a key of its own, made of a salt, because the number of cursors
// has no bound and that of random nonces for one key has.
type sealer struct{ key []byte }

const saltSize = 16

func (s *sealer) aead(salt []byte) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, s.key)
	_, _ = h.Write(salt) // never fails
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *sealer) seal(plain, binding []byte) (string, error) {
	out := make([]byte, 1+saltSize, 1+saltSize+len(plain)+16)
	out[0] = cursorFormat
	_, _ = rand.Read(out[1:]) // never fails
	aead, err := s.aead(out[1:])
	if err != nil {
		return "", err
	}
	out = aead.Seal(out, make([]byte, aead.NonceSize()), plain, binding)
	return base64.RawURLEncoding.EncodeToString(out), nil
}

func (s *sealer) open(cursor string, binding []byte) ([]byte, error) {
	if len(cursor) > MaxCursorLength {
		return nil, ErrInvalidCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) <= 1+saltSize || b[0] != cursorFormat {
		return nil, ErrInvalidCursor
	}
	aead, err := s.aead(b[1 : 1+saltSize])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), b[1+saltSize:], binding)
	if err != nil {
		return nil, ErrInvalidCursor
	}
	return plain, nil
}

// binding is what a cursor is good for: everything but the limit.
func (r ListRequest) binding() []byte {
	h := sha256.New()
	write := func(text string) {
		_ = binary.Write(h, binary.BigEndian, uint32(len(text))) //nolint:gosec // never fails, and texts are short
		_, _ = h.Write([]byte(text))
	}
	instant := func(t time.Time) {
		if t.IsZero() {
			write("")
			return
		}
		write(t.UTC().Format(time.RFC3339Nano))
	}
	f := r.Filter
	for _, text := range []string{r.Purpose, r.Principal, r.Sort.String(), string(f.Status), string(f.Tag), string(f.ExternalID), string(f.Phone)} {
		write(text)
	}
	email := ""
	if f.Email != "" {
		email = f.Email.Canonical()
	}
	write(email)
	instant(f.CreatedAfter)
	instant(f.CreatedBefore)
	instant(f.UpdatedAfter)
	for _, t := range f.Terms {
		write(t.Word)
	}
	return h.Sum(nil)
}

func (l *Lists) seal(ctx context.Context, p Place, binding []byte) (string, error) {
	return l.sealPlain(ctx, p.append(nil), binding)
}

func (l *Lists) open(ctx context.Context, cursor string, binding []byte) (*Place, error) {
	plain, err := l.openPlain(ctx, cursor, binding)
	if err != nil {
		return nil, err
	}
	return parsePlace(plain)
}

// sealPlain makes a cursor of a place that is bytes already.
func (l *Lists) sealPlain(ctx context.Context, place, binding []byte) (string, error) {
	s, err := l.sealer(ctx, nil)
	if err != nil {
		return "", err
	}
	return s.seal(place, binding)
}

// openPlain is the place that sealPlain made a cursor of, for the same binding.
func (l *Lists) openPlain(ctx context.Context, cursor string, binding []byte) ([]byte, error) {
	s, err := l.sealer(ctx, nil)
	if err != nil {
		return nil, err
	}
	plain, err := s.open(cursor, binding)
	if errors.Is(err, ErrInvalidCursor) {
		// The schema may have been made anew since the key was read.
		if s, err = l.sealer(ctx, s); err != nil {
			return nil, err
		}
		plain, err = s.open(cursor, binding)
	}
	return plain, err
}

// sealer is the one in use, read when there is none other than not.
func (l *Lists) sealer(ctx context.Context, not *sealer) (*sealer, error) {
	if s := l.sealed.Load(); s != nil && s != not {
		return s, nil
	}
	key, err := l.reader.CursorKey(ctx)
	if err != nil {
		return nil, err
	}
	s := &sealer{key: key}
	l.sealed.Store(s)
	return s, nil
}

func (p Place) append(b []byte) []byte {
	b = append(b, p.ID[:]...)
	b = binary.AppendVarint(b, p.At.UnixMicro())
	b = binary.AppendUvarint(b, uint64(len(p.Name)))
	b = append(b, p.Name...)
	if p.Walk == nil {
		return b
	}
	b = binary.AppendVarint(b, p.Walk.Newest.UnixMicro())
	for i, began := range p.Walk.Began {
		b = binary.AppendUvarint(b, uint64(began))                //nolint:gosec // positions are not negative
		b = binary.AppendUvarint(b, uint64(p.Walk.Seen[i]-began)) //nolint:gosec // nor is what came since
	}
	return b
}

// parsePlace reads what append wrote. It is given what was sealed here and
// nothing else, and yet trusts none of it.
func parsePlace(b []byte) (*Place, error) {
	var p Place
	if len(b) < len(p.ID) {
		return nil, ErrInvalidCursor
	}
	p.ID, b = customer.ID(b[:len(p.ID)]), b[len(p.ID):]
	at, n := binary.Varint(b)
	if n <= 0 {
		return nil, ErrInvalidCursor
	}
	p.At, b = time.UnixMicro(at).UTC(), b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, ErrInvalidCursor
	}
	p.Name, b = string(b[n:n+int(size)]), b[n+int(size):] //nolint:gosec // not beyond b
	if len(b) == 0 {
		return &p, nil
	}
	newest, n := binary.Varint(b)
	if n <= 0 {
		return nil, ErrInvalidCursor
	}
	p.Walk, b = &Walk{Newest: time.UnixMicro(newest).UTC()}, b[n:]
	for len(b) > 0 {
		began, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, ErrInvalidCursor
		}
		since, m := binary.Uvarint(b[n:])
		if m <= 0 || began > 1<<62 || since > 1<<62 {
			return nil, ErrInvalidCursor
		}
		p.Walk.Began = append(p.Walk.Began, eventlog.Position(began))
		p.Walk.Seen = append(p.Walk.Seen, eventlog.Position(began+since))
		b = b[n+m:]
	}
	return &p, nil
}
