package audit

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/ebrahem-outlook/customer-service/internal/customer"
)

// fieldNames are a customer's fields as the contract has them, less those that
// every event changes.
var fieldNames = [...]string{
	"status", "first_name", "last_name", "email", "phone", "locale", "external_id",
	"addresses", "tags", "metadata", "consents",
}

// fieldHashes tell which fields differ between two states. Nothing is 0.
type fieldHashes [len(fieldNames)]uint64

func hashFields(d customer.Data) fieldHashes {
	return fieldHashes{
		hashText(string(d.Status)), hashText(string(d.FirstName)), hashText(string(d.LastName)), hashText(string(d.Email)),
		hashText(string(d.Phone)), hashText(string(d.Locale)), hashText(string(d.ExternalID)),
		hashAddresses(d.Addresses), hashTags(d.Tags), hashMetadata(d.Metadata), hashConsents(d.Consents),
	}
}

func hashText(s string) uint64 {
	if s == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

func hashAddresses(all []customer.Address) uint64 {
	if len(all) == 0 {
		return 0
	}
	return hashText(fmt.Sprint(all))
}

func hashTags(tags []customer.Tag) uint64 {
	var b strings.Builder
	for _, t := range tags {
		b.WriteString(string(t) + "\n")
	}
	return hashText(b.String())
}

func hashMetadata(m map[string]string) uint64 {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%q:%q\n", k, m[k])
	}
	return hashText(b.String())
}

func hashConsents(m map[customer.Channel]customer.Consent) uint64 {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		c := m[k]
		fmt.Fprintf(&b, "%s %t %d %q %q\n", k, c.Granted, c.At.UnixMicro(), c.Source, c.Wording)
	}
	return hashText(b.String())
}
