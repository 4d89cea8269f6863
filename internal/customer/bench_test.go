package customer

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkFoldLife(b *testing.B) {
	life := onceEach()
	b.ReportAllocs()
	for b.Loop() {
		Fold(ada, life...)
	}
}

func BenchmarkFoldThousandEmails(b *testing.B) {
	events := []Event{onceEach()[0]}
	for i := range 1000 {
		events = append(events, EmailChanged{At: At{epoch.Add(time.Duration(i) * time.Second)}, Email: Email(fmt.Sprint(i, "@example.com"))})
	}
	b.ReportAllocs()
	for b.Loop() {
		Fold(ada, events...)
	}
}

func BenchmarkRegister(b *testing.B) {
	r := Registration{FirstName: "Ada", LastName: "Lovelace", Email: "ada@example.com", Addresses: []Address{home()}, Tags: []Tag{"vip"}}
	s := NewState(ada)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Register(r, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, parse := range map[string]func() error{
		"name":        func() error { _, err := ParseName("Zoë Đặng"); return err },
		"email":       func() error { _, err := ParseEmail("ada.lovelace@example.com"); return err },
		"email_idn":   func() error { _, err := ParseEmail("zoë@bücher.example"); return err },
		"canonical":   func() error { _ = Email("Ada.Lovelace@example.com").Canonical(); return nil },
		"phone":       func() error { _, err := ParsePhone("+1 415 555 2671"); return err },
		"locale":      func() error { _, err := ParseLocale("vi-VN"); return err },
		"postal_code": func() error { _, err := postalFormatOf("GB").parse("SW1A 2AA"); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := parse(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
