package config

import (
	"errors"
	"fmt"
)

// Parts that several processes have.
type (
	// Log is how a process writes about itself, to standard error.
	Log struct {
		Level  Level  `name:"log-level" env:"LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"Least severity that is logged: debug, info, warn or error. Default ${default}."`
		Format Format `name:"log-format" env:"LOG_FORMAT" default:"json" placeholder:"FORMAT" help:"json for machines, text for people. Default ${default}."`
	}

	// EventLog is where events are.
	EventLog struct {
		EventLogURL PostgresURL `name:"eventlog-database-url" env:"EVENTLOG_DATABASE_URL" placeholder:"URL" help:"PostgreSQL database of the event log, postgres://user:password@host:port/name. Prefer the variable: a flag shows in process lists."`
	}

	// ReadModel is where read models are.
	ReadModel struct {
		ReadModelURL PostgresURL `name:"readmodel-database-url" env:"READMODEL_DATABASE_URL" placeholder:"URL" help:"PostgreSQL database of the read models. May be the event log's. Prefer the variable."`
	}

	// Broker is RabbitMQ.
	Broker struct {
		AMQPURL    AMQPURL `name:"amqp-url" env:"AMQP_URL" placeholder:"URL" help:"RabbitMQ, amqp://user:password@host:port/vhost. Prefer the variable."`
		AMQPPrefix Prefix  `name:"amqp-prefix" env:"AMQP_PREFIX" default:"customer" placeholder:"NAME" help:"First part of the names of exchanges and queues; the same in every process of a deployment. Default ${default}."`
		Lanes      Int     `name:"lanes" env:"LANES" default:"8" min:"1" max:"1024" placeholder:"N" help:"How many lanes the feed has; the same in every process. Default ${default}."`
	}

	// Cache is Redis.
	Cache struct {
		RedisURL    RedisURL `name:"redis-url" env:"REDIS_URL" placeholder:"URL" help:"Redis, redis://user:password@host:port/db. Prefer the variable."`
		RedisPrefix Prefix   `name:"redis-prefix" env:"REDIS_PREFIX" default:"customer" placeholder:"NAME" help:"First part of every key; the same in every process of a deployment. Default ${default}."`
	}

	// Keys is where the key-encryption keys are.
	Keys struct {
		KeysFile Path `name:"keys-file" env:"KEYS_FILE" placeholder:"FILE" help:"Keyring made by 'command-api keys init'. Whoever loses it loses every customer: back it up, apart from the database."`
	}

	// Drain is how a process ends.
	Drain struct {
		DrainDelay   Duration `name:"drain-delay" env:"DRAIN_DELAY" default:"500ms" min:"0s" max:"1m" placeholder:"TIME" help:"After SIGTERM, how long to go on accepting requests while /readyz answers 503. Default ${default}."`
		DrainTimeout Duration `name:"drain-timeout" env:"DRAIN_TIMEOUT" default:"10s" min:"100ms" max:"5m" placeholder:"TIME" help:"How long requests under way, and then background work, have to end. Default ${default}."`
	}

	// Auth is who may ask.
	Auth struct {
		Mode string `name:"auth-mode" env:"AUTH_MODE" placeholder:"MODE" help:"dev: take every request as the principal 'dev'. Only when every listener is on loopback. This version knows no other mode."`
	}
)

// The processes.
type (
	// CommandServe is the command API.
	CommandServe struct {
		Addr Addr `name:"addr" env:"COMMAND_API_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the command API listens. Default ${default}."`
		Auth
		EventLog
		Keys
		Broker
		MaxInFlight Int      `name:"max-in-flight" env:"MAX_IN_FLIGHT" default:"2048" min:"1" max:"100000" placeholder:"N" help:"Requests worked on at once; more are answered 503 with Retry-After. Default ${default}."`
		Pool        Int      `name:"pool" env:"POOL_SIZE" default:"16" min:"2" max:"1000" placeholder:"N" help:"Database connections. Default ${default}."`
		Batch       Int      `name:"append-batch" env:"APPEND_BATCH" default:"128" min:"1" max:"1000" placeholder:"N" help:"Commands that one transaction commits at most. Default ${default}."`
		Queue       Int      `name:"append-queue" env:"APPEND_QUEUE" default:"1024" min:"1" max:"100000" placeholder:"N" help:"Commands that wait for a transaction at most; more are answered 503. Default ${default}."`
		MaxWait     Duration `name:"append-wait" env:"APPEND_WAIT" default:"500ms" min:"10ms" max:"5s" placeholder:"TIME" help:"How long a command waits for a transaction before it is answered 503. Default ${default}."`
		InFlight    Int      `name:"append-in-flight" env:"APPEND_IN_FLIGHT" default:"2" min:"1" max:"16" placeholder:"N" help:"Transactions under way at once. Default ${default}."`
		Cached      Int      `name:"cached-customers" env:"CACHED_CUSTOMERS" default:"10000" min:"1" max:"10000000" placeholder:"N" help:"Customers kept in memory for deciding, about 2 kB each. Default ${default}."`
		Relay       Int      `name:"relay-batch" env:"RELAY_BATCH" default:"256" min:"1" max:"256" placeholder:"N" help:"Events that one message of the feed holds at most. Default ${default}."`
		Drain
		Log
	}

	// ProjectorServe is the projector.
	ProjectorServe struct {
		Addr Addr `name:"addr" env:"PROJECTOR_ADDR" default:"127.0.0.1:8082" placeholder:"HOST:PORT" help:"Where health is served. Default ${default}."`
		EventLog
		ReadModel
		Keys
		Broker
		Cache
		Pool Int `name:"pool" env:"POOL_SIZE" default:"12" min:"2" max:"1000" placeholder:"N" help:"Connections to each database. Default ${default}."`
		Drain
		Log
	}

	// ProjectorTask is a task beside the projector that runs.
	ProjectorTask struct {
		EventLog
		ReadModel
		Keys
		Cache
		Lanes Int `name:"lanes" env:"LANES" default:"8" min:"1" max:"1024" placeholder:"N" help:"How many lanes the feed has; the same in every process. Default ${default}."`
		Log
	}

	// QueryServe is the query API.
	QueryServe struct {
		Addr Addr `name:"addr" env:"QUERY_API_ADDR" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Where the query API listens. Default ${default}."`
		Auth
		ReadModel
		Cache
		MaxInFlight  Int      `name:"max-in-flight" env:"MAX_IN_FLIGHT" default:"6144" min:"1" max:"100000" placeholder:"N" help:"Requests worked on at once; more are answered 503 with Retry-After. Those that wait for a token count, so it should exceed MAX_WAITERS. Default ${default}."`
		Pool         Int      `name:"pool" env:"POOL_SIZE" default:"16" min:"2" max:"1000" placeholder:"N" help:"Database connections. Default ${default}."`
		Wait         Duration `name:"default-wait" env:"DEFAULT_WAIT" default:"2s" min:"0s" max:"10s" placeholder:"TIME" help:"How long a read waits for its consistency tokens unless it says so itself. Default ${default}."`
		MaxWaiters   Int      `name:"max-waiters" env:"MAX_WAITERS" default:"4096" min:"1" max:"1000000" placeholder:"N" help:"Reads that wait at once; more are answered 503. Default ${default}."`
		L1           Int      `name:"l1-megabytes" env:"L1_MEGABYTES" default:"64" min:"0" max:"65536" placeholder:"N" help:"Memory for documents of hot customers, in MiB; 0 keeps none. Default ${default}."`
		MaxFollowers Int      `name:"max-followers" env:"MAX_FOLLOWERS" default:"4096" min:"1" max:"1000000" placeholder:"N" help:"Clients that follow the event feed live at once, about 50 kB each; more are answered 503. Not counted by MAX_IN_FLIGHT. Default ${default}."`
		MaxExports   Int      `name:"max-exports" env:"MAX_EXPORTS" default:"2" min:"1" max:"100" placeholder:"N" help:"Exports under way at once, each with a database connection beside the pool; more are answered 503. Default ${default}."`
		ExportTime   Duration `name:"export-timeout" env:"EXPORT_TIMEOUT" default:"15m" min:"1s" max:"24h" placeholder:"TIME" help:"How long one export may take; a rebuild waits as long for it before its tables are put in place. Default ${default}."`
		Drain
		Log
	}

	// Migrate moves one schema.
	Migrate[DB any] struct {
		Database DB `embed:""`
		Log
	}

	// KeysInit makes a keyring.
	KeysInit struct {
		Out Path `name:"out" env:"KEYS_FILE" placeholder:"FILE" help:"Where to write the keyring. A keyring that is there is left as it is."`
	}
)

// checkAuth is the rule that spans auth mode and addresses.
func (a Auth) checkAuth(addrs ...Addr) error {
	switch a.Mode {
	case "dev":
		var errs []error
		for _, addr := range addrs {
			if !addr.Loopback() {
				errs = append(errs, fmt.Errorf("AUTH_MODE (--auth-mode): dev asks no one who they are, so it takes loopback addresses alone, and %q is none", string(addr)))
			}
		}
		return errors.Join(errs...)
	case "":
		return errors.New("AUTH_MODE (--auth-mode): is not set; OIDC is not available in this version yet: set dev and listen on loopback")
	default:
		return errors.New("AUTH_MODE (--auth-mode): only dev is known; OIDC is not available in this version yet: set dev and listen on loopback")
	}
}

// Check holds the address to the auth mode.
func (c *CommandServe) Check() error { return c.checkAuth(c.Addr) }

// Check holds the address to the auth mode.
func (c *QueryServe) Check() error { return c.checkAuth(c.Addr) }
