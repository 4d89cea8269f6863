package rediscache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/google/uuid"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
	"github.com/ebrahem-outlook/customer-service/internal/query"
)

// errForeignValue tells that a key holds what encode did not write for it.
var errForeignValue = errors.New("foreign value")

// A value is "1:<version>:<state>:<checksum>:<body>", where scripts read the
// version. A lease is "L:", a random id and, once a version was committed
// meanwhile, ":" and that version. It is no value.
const (
	valuePrefix = "1:"
	leasePrefix = "L:"
)

// letter is a status in a value, 0 for one that no entry has.
func letter(s customer.Status) byte {
	switch s {
	case customer.StatusActive:
		return 'a'
	case customer.StatusSuspended:
		return 's'
	case customer.StatusDeleted:
		return 'd'
	case customer.StatusErased:
		return 'e'
	case customer.StatusNone:
		return 'n' // its registration was passed over: nobody, at a version like others
	default:
		return 0
	}
}

func status(letter byte) customer.Status {
	switch letter {
	case 'a':
		return customer.StatusActive
	case 's':
		return customer.StatusSuspended
	case 'd':
		return customer.StatusDeleted
	case 'e':
		return customer.StatusErased
	default:
		return customer.StatusNone
	}
}

// encode is an entry as Redis keeps it. Only the live have a body.
func encode(id customer.ID, e query.Entry) ([]byte, error) {
	state := letter(e.Status)
	if state == 0 {
		return nil, fmt.Errorf("no customer has status %q", e.Status)
	}
	body := e.Body
	if !e.Live() {
		body = nil
	}
	b := make([]byte, 0, len(valuePrefix)+20+2+8+2+len(body))
	b = append(b, valuePrefix...)
	b = strconv.AppendInt(b, int64(e.Version), 10)
	b = append(b, ':', state, ':')
	b = fmt.Appendf(b, "%08x:", checksum(id, e.Version, state, body))
	return append(b, body...), nil
}

// decode reads what encode wrote for this very customer.
func decode(id customer.ID, b []byte) (query.Entry, error) {
	rest, ok := bytes.CutPrefix(b, []byte(valuePrefix))
	if !ok {
		return query.Entry{}, errForeignValue
	}
	number, rest, _ := bytes.Cut(rest, []byte{':'})
	version, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || version < 1 || len(rest) < 11 || rest[1] != ':' || rest[10] != ':' {
		return query.Entry{}, errForeignValue
	}
	state, body := rest[0], rest[11:]
	e := query.Entry{Version: customer.Version(version), Status: status(state)}
	sum, err := strconv.ParseUint(string(rest[2:10]), 16, 32)
	if err != nil || letter(e.Status) != state || uint32(sum) != checksum(id, e.Version, state, body) || e.Live() != (len(body) > 0) { //nolint:gosec // 32 bits were parsed
		return query.Entry{}, errForeignValue
	}
	if e.Live() {
		e.Body = body
	}
	return e, nil
}

// checksum guards against accidents: cut values, and values under another key.
func checksum(id customer.ID, v customer.Version, state byte, body []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	head := binary.BigEndian.AppendUint64(append([]byte(nil), id[:]...), uint64(v)) //nolint:gosec // never negative
	sum := crc32.Update(0, table, append(head, state))
	return crc32.Update(sum, table, body)
}

// announcement is what is published of an entry.
func announcement(id customer.ID, v customer.Version) string {
	return id.String() + ":" + strconv.FormatInt(int64(v), 10)
}

func parseAnnouncement(s string) (customer.ID, customer.Version, error) {
	const idLength = 36
	if len(s) < idLength+2 || s[idLength] != ':' {
		return customer.ID{}, 0, errForeignValue
	}
	id, err := uuid.Parse(s[:idLength])
	if err != nil {
		return customer.ID{}, 0, errForeignValue
	}
	v, err := strconv.ParseInt(s[idLength+1:], 10, 64)
	if err != nil || v < 1 {
		return customer.ID{}, 0, errForeignValue
	}
	return id, customer.Version(v), nil
}
