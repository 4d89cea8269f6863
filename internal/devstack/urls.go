package devstack

// URLs say how to reach a stack's services, as the superuser of each.
type URLs struct {
	postgres string // host:port
	// AMQP and Redis are empty if the stack has no such service.
	AMQP, Redis string
}

// Postgres is the URL of one of the server's databases, empty if the stack has
// no PostgreSQL.
func (u URLs) Postgres(database string) string {
	if u.postgres == "" {
		return ""
	}
	return "postgres://postgres@" + u.postgres + "/" + database + "?sslmode=disable"
}

// URLs say how to reach the services. They do not change while the stack lives.
func (s *Stack) URLs() URLs {
	var u URLs
	if p := s.Postgres(); p != nil {
		u.postgres = p.Addr()
	}
	if r := s.RabbitMQ(); r != nil {
		u.AMQP = "amqp://guest:guest@" + r.Addr() + "/"
	}
	if r := s.Redis(); r != nil {
		u.Redis = "redis://" + r.Addr() + "/0"
	}
	return u
}
