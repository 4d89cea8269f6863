package eventlog

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// ErrInvalidToken tells that a consistency token was not made by Token.String.
var ErrInvalidToken = errors.New("invalid consistency token")

// Token names a customer at a version: a read that carries it must not answer
// from anything older. It grants nothing and hides nothing, so it is guarded
// against accidents by a checksum, not against forgery by a key: a forged one
// only makes its own reader wait.
type Token struct {
	CustomerID customer.ID
	Version    customer.Version
}

const (
	tokenFormat   = 1 // first byte; a new format gets a new one
	tokenChecksum = 4 // bytes of SHA-256 over what precedes them
	tokenMaxSize  = 1 + 16 + binary.MaxVarintLen64 + tokenChecksum
)

// String is the token as clients carry it: opaque base64url, at most 42 characters.
func (t Token) String() string {
	b := make([]byte, 0, tokenMaxSize)
	b = append(b, tokenFormat)
	b = append(b, t.CustomerID[:]...)
	b = binary.AppendUvarint(b, uint64(t.Version)) //nolint:gosec // versions are never negative
	sum := sha256.Sum256(b)
	b = append(b, sum[:tokenChecksum]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads what String wrote and refuses everything else with
// ErrInvalidToken.
func ParseToken(s string) (Token, error) {
	if len(s) > base64.RawURLEncoding.EncodedLen(tokenMaxSize) {
		return Token{}, ErrInvalidToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 1+16+1+tokenChecksum || b[0] != tokenFormat {
		return Token{}, ErrInvalidToken
	}
	body, sum := b[:len(b)-tokenChecksum], sha256.Sum256(b[:len(b)-tokenChecksum])
	if string(sum[:tokenChecksum]) != string(b[len(body):]) {
		return Token{}, ErrInvalidToken
	}
	var t Token
	copy(t.CustomerID[:], body[1:17])
	v, n := binary.Uvarint(body[17:])
	if n != len(body)-17 || v == 0 || v > 1<<62 {
		return Token{}, ErrInvalidToken
	}
	t.Version = customer.Version(v)
	if t.String() != s { // one token has one spelling
		return Token{}, ErrInvalidToken
	}
	return t, nil
}
