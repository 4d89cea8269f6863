// Command fake stands in for each of the product's programs, by the name that
// it is built under: it takes the same arguments and environment, and serves
// nothing but its readiness, a crash on request, the process's id and what it
// was told of the services.
package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
)

var addrVariables = map[string]string{
	"command-api": "COMMAND_API_ADDR",
	"query-api":   "QUERY_API_ADDR",
	"projector":   "PROJECTOR_ADDR",
}

func main() {
	name := filepath.Base(os.Args[0])
	for _, v := range []string{"EVENTLOG_DATABASE_URL", "READMODEL_DATABASE_URL", "AMQP_URL", "REDIS_URL", "KEYS_FILE", "AUTH_MODE"} {
		if os.Getenv(v) == "" {
			fail(v + " is not set")
		}
	}
	switch os.Args[1] {
	case "keys":
		if err := os.WriteFile(os.Args[4], []byte("{}"), 0o600); err != nil {
			fail(err.Error())
		}
	case "migrate":
		fmt.Println(name, "migrates")
		if os.Getenv("FAKE_MIGRATE_FAILS") != "" {
			fail("column nonsense does not exist")
		}
	case "serve":
		if _, err := os.Stat(os.Getenv("KEYS_FILE")); err != nil {
			fail(err.Error())
		}
		fmt.Println(`{"level":"WARN","msg":"a word of warning"}`)
		http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
		http.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strconv.Itoa(os.Getpid())))
		})
		http.HandleFunc("/environ", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, os.Getenv("EVENTLOG_DATABASE_URL")+" "+os.Getenv("READMODEL_DATABASE_URL")+" "+os.Getenv("AMQP_URL"))
		})
		http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { fail("crashed on request") })
		fail(http.ListenAndServe(os.Getenv(addrVariables[name]), nil).Error())
	}
}

func fail(why string) {
	_, _ = fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
