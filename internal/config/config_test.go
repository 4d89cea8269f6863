package config_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebrahem-outlook/customer-service/internal/config"
)

type cli struct {
	Serve   config.CommandServe             `cmd:""`
	Query   config.QueryServe               `cmd:""`
	Project config.ProjectorServe           `cmd:""`
	Migrate config.Migrate[config.EventLog] `cmd:""`
}

// unset is the environment a process has in the tests here.
func unset(t *testing.T) {
	t.Helper()
	for _, name := range []string{"EVENTLOG_DATABASE_URL", "READMODEL_DATABASE_URL", "AMQP_URL", "REDIS_URL", "AUTH_MODE", "KEYS_FILE", "COMMAND_API_ADDR", "QUERY_API_ADDR", "PROJECTOR_ADDR", "LOG_LEVEL", "LOG_FORMAT", "LANES", "POOL_SIZE"} {
		t.Setenv(name, "") // so that it comes back
		require.NoError(t, os.Unsetenv(name))
	}
}

func parse(t *testing.T, args ...string) (*cli, string, error) {
	t.Helper()
	var c cli
	var out bytes.Buffer
	_, err := config.Parse(&c, "test", "For tests.", args, &out)
	return &c, out.String(), err
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	unset(t)
	t.Setenv("EVENTLOG_DATABASE_URL", "mysql://user:hunter2@host/db")
	t.Setenv("LANES", "many-hunter2")
	_, _, err := parse(t, "serve", "--addr=0.0.0.0:80", "--auth-mode=dev", "--drain-timeout=1h", "--append-wait=soon", "--pool=0", "--amqp-prefix=a b", "--log-level=loud")
	require.Error(t, err)
	for _, want := range []string{
		"EVENTLOG_DATABASE_URL (--eventlog-database-url): is not a URL that begins with postgres:// or postgresql://",
		"KEYS_FILE (--keys-file): is not set",
		"AMQP_URL (--amqp-url): is not set",
		"LANES (--lanes): is not a whole number",
		"AMQP_PREFIX (--amqp-prefix): has 1 to 64 letters",
		"POOL_SIZE (--pool): must be from 2 to 1000",
		"APPEND_WAIT (--append-wait): is not a duration with its unit",
		"LOG_LEVEL (--log-level): is none of debug, info, warn, error",
		"DRAIN_TIMEOUT (--drain-timeout): must be from 100ms to 5m",
		`AUTH_MODE (--auth-mode): dev asks no one who they are, so it takes loopback addresses alone, and "0.0.0.0:80" is none`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "hunter2")
}

func TestDevelopmentModeTakesLoopbackAlone(t *testing.T) {
	unset(t)
	for addr, ok := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:0": true, "[::1]:8080": true, "127.8.9.1:1": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "192.168.1.2:8080": false, "example.com:8080": false, "localhost.example.com:1": false,
	} {
		_, _, err := parse(t, "query", "--auth-mode=dev", "--addr="+addr, "--readmodel-database-url=postgres://h/db", "--redis-url=redis://h")
		require.Equal(t, ok, err == nil, "%s: %v", addr, err)
	}
	for _, mode := range []string{"", "oidc", "none"} {
		_, _, err := parse(t, "query", "--auth-mode="+mode, "--readmodel-database-url=postgres://h/db", "--redis-url=redis://h")
		require.ErrorContains(t, err, "OIDC is not available in this version yet: set dev and listen on loopback")
	}
}

func TestFlagsBeatVariablesAndVariablesBeatDefaults(t *testing.T) {
	unset(t)
	t.Setenv("EVENTLOG_DATABASE_URL", "postgres://h/db")
	t.Setenv("READMODEL_DATABASE_URL", "postgres://h/db")
	t.Setenv("AMQP_URL", "amqp://h")
	t.Setenv("REDIS_URL", "redis://h")
	t.Setenv("KEYS_FILE", "keys.json")
	t.Setenv("LANES", "16")
	c, _, err := parse(t, "project", "--pool=7")
	require.NoError(t, err)
	require.Equal(t, 16, c.Project.Lanes.Value)
	require.Equal(t, 7, c.Project.Pool.Value)
	require.Equal(t, "127.0.0.1:8082", string(c.Project.Addr))
	require.EqualValues(t, "info", c.Project.Level)
}

func TestSecretsDoNotPrint(t *testing.T) {
	unset(t)
	c, _, err := parse(t, "migrate", "--eventlog-database-url=postgres://user:hunter2@host:5432/db?password=hunter2")
	require.NoError(t, err)
	url := c.Migrate.Database.EventLogURL
	require.Contains(t, url.Reveal(), "hunter2")
	for _, verb := range []string{"%v", "%s", "%+v", "%#v", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, url), "hunter2", verb)
	}
	require.Equal(t, "postgres://host:5432/db", url.String())
}

func TestHelpExplainsEverySetting(t *testing.T) {
	unset(t)
	for _, command := range []string{"serve", "query", "project", "migrate"} {
		_, help, err := parse(t, command, "--help")
		require.NoError(t, err)
		for _, want := range []string{"LOG_LEVEL", "--log-format", "DATABASE_URL"} {
			require.Contains(t, help, want, command)
		}
		require.NotContains(t, help, "${", "every default is filled in")
	}
	_, help, err := parse(t, "serve", "--help")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(help), " "), "Default 10s ($DRAIN_TIMEOUT)")
}
