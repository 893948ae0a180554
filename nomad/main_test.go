package nomad_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
)

// TestMain lets the test binary be the task of a job as well: with asTask in
// its environment it serves HTTP until it is told to crash or to stop.
func TestMain(m *testing.M) {
	if os.Getenv(asTask) != "" {
		serveAsTask()
		return
	}
	os.Exit(m.Run())
}

const asTask = "PILOTLIGHT_TEST_TASK"

func serveAsTask() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getenv("NOMAD_ALLOC_ID")) })
	mux.HandleFunc("/crash", func(_ http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Query().Get("code"))
		if err != nil {
			code = 1
		}
		os.Exit(code)
	})
	err := http.ListenAndServe("127.0.0.1:"+os.Getenv("NOMAD_PORT_http"), mux)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
