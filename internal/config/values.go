package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The types below are decoded without an error: what is wrong with them is kept
// and told by Parse together with every other fault, where the command line
// parser would stop at the first and quote it.

// setting is what Parse asks of every value.
type setting interface {
	// fault is what is wrong, without the value; it begins with a verb.
	fault() error
}

// Int is a whole number.
type Int struct {
	Value int
	err   error
}

// UnmarshalText reads a decimal number.
func (i *Int) UnmarshalText(text []byte) error {
	i.Value, i.err = strconv.Atoi(string(text))
	if i.err != nil {
		i.err = fmt.Errorf("is not a whole number")
	}
	return nil
}

func (i *Int) fault() error { return i.err }

// Duration is a length of time, as in 250ms, 2s or 1m30s.
type Duration struct {
	Value time.Duration
	err   error
}

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	d.Value, d.err = time.ParseDuration(string(text))
	if d.err != nil {
		d.err = fmt.Errorf("is not a duration with its unit, as in 250ms or 2s")
	}
	return nil
}

func (d *Duration) fault() error { return d.err }

// Secret is a URL that may hold a password. It prints without it.
type Secret struct{ value string }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(text []byte) error {
	s.value = string(text)
	return nil
}

// Reveal returns the URL as it was given.
func (s Secret) Reveal() string { return s.value }

// String is the URL without user, password and parameters.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	u, err := url.Parse(s.value)
	if err != nil || u.Host == "" {
		return "[redacted]"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// GoString keeps %#v from reaching the value.
func (s Secret) GoString() string { return s.String() }

func (s Secret) oneOf(schemes ...string) error {
	if s.value == "" {
		return fmt.Errorf("is not set")
	}
	u, err := url.Parse(s.value)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" {
		return fmt.Errorf("is not a URL that begins with %s://", strings.Join(schemes, ":// or "))
	}
	return nil
}

type (
	// PostgresURL names a database.
	PostgresURL struct{ Secret }
	// AMQPURL names a RabbitMQ virtual host.
	AMQPURL struct{ Secret }
	// RedisURL names a Redis database.
	RedisURL struct{ Secret }
)

func (u *PostgresURL) fault() error { return u.oneOf("postgres", "postgresql") }
func (u *AMQPURL) fault() error     { return u.oneOf("amqp", "amqps") }
func (u *RedisURL) fault() error    { return u.oneOf("redis", "rediss") }

// Addr is an address to listen on, host:port.
type Addr string

func (a *Addr) fault() error {
	_, port, err := net.SplitHostPort(string(*a))
	if n, portErr := strconv.Atoi(port); err != nil || portErr != nil || n < 0 || n > 65535 {
		return fmt.Errorf("is not host:port")
	}
	return nil
}

// Loopback tells whether only this machine can reach the address. A name other
// than localhost could come to mean anything, so it is not trusted.
func (a Addr) Loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Path names a file.
type Path string

func (p *Path) fault() error {
	if *p == "" {
		return fmt.Errorf("is not set")
	}
	return nil
}

// Prefix goes in front of the names this deployment uses in a shared service.
type Prefix string

func (p *Prefix) fault() error {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:-", r)
	}
	if *p == "" || len(*p) > 64 || strings.ContainsFunc(string(*p), outside) {
		return fmt.Errorf("has 1 to 64 letters, digits and . _ : -")
	}
	return nil
}

// Level is the least severity that is logged.
type Level string

func (l *Level) fault() error { return among(string(*l), "debug", "info", "warn", "error") }

// Format is how log lines are written.
type Format string

func (f *Format) fault() error { return among(string(*f), "json", "text") }

func among(text string, known ...string) error {
	if !slices.Contains(known, text) {
		return fmt.Errorf("is none of %s", strings.Join(known, ", "))
	}
	return nil
}
