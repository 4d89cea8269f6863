package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
)

// person is a registration whose every value can be told from all others.
type person struct {
	FirstName  string            `json:"first_name"`
	LastName   string            `json:"last_name"`
	Email      string            `json:"email"`
	Phone      string            `json:"phone,omitempty"`
	Locale     string            `json:"locale,omitempty"`
	ExternalID string            `json:"external_id,omitempty"`
	Addresses  []map[string]any  `json:"addresses,omitempty"`
	Tags       []string          `json:"tags,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Consents   map[string]any    `json:"consents,omitempty"`
}

func newPerson() person {
	unique := uuid.NewString()
	return person{
		FirstName: "First " + unique,
		LastName:  "Last " + unique,
		Email:     unique + "@example.com",
	}
}

// newFullPerson uses every writable field.
func newFullPerson() person {
	p := newPerson()
	mark := uuid.NewString()[:8]
	p.Phone = fmt.Sprintf("+1415555%04d", rand.IntN(10000))
	p.Locale = "vi-VN"
	p.ExternalID = "crm-" + mark
	p.Addresses = []map[string]any{{
		"line1": "Street " + mark, "city": "City " + mark, "postal_code": "75001", "country": "FR",
		"label": "label " + mark, "default_for": []string{"shipping"},
	}}
	p.Tags = []string{"tag-" + mark}
	p.Metadata = map[string]string{"key" + mark: "value " + mark}
	p.Consents = map[string]any{"email": map[string]any{"granted": true, "source": "source " + mark, "wording": "wording " + mark}}
	return p
}

func (p person) json() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and maps of strings always marshal
	}
	return string(b)
}
