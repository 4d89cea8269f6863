package devstack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Ports come from below the range from which systems draw the local port of an
// outgoing connection (32768 and up on Linux, 49152 and up elsewhere). Inside
// it, a client that keeps dialling a stopped service is sooner or later given
// that very port as its own, connects to itself, and keeps the service from
// coming back.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// FreePort finds a port on 127.0.0.1 that nobody listens on. Somebody may before
// the caller does.
func FreePort() (int, error) {
	for range 200 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if portFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d", lowestPort, highestPort)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// portTaken tells whether a service did not start because somebody had its port.
// Whoever only tried whether it was free, as we do, has given it back by now;
// then the end of the service's log says so, which is in err.
func portTaken(err error, port int) bool {
	said := strings.ToLower(err.Error())
	return !portFree(port) || strings.Contains(said, "address already in use") || strings.Contains(said, "eaddrinuse")
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
