package front

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoIsRefusedBeforeItsBodyIsReadIsToldSoAtOnce(t *testing.T) {
	for name, announced := range map[string]string{
		"waits to be told to send":     "Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n",
		"has more left than is read":   "Content-Length: 20000000\r\n\r\nx",
		"waits, in chunks of any size": "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newHouse(t, Config{Max: 1}, func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				})
				c := x.dial()
				begun := time.Now()
				go func() { _, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\n%s", announced) }()
				resp, err := http.ReadResponse(c.r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != http.StatusRequestEntityTooLarge || time.Since(begun) > time.Second {
					t.Errorf("%d after %v", resp.StatusCode, time.Since(begun))
				}
				go func() { _, _ = io.Copy(io.Discard, c) }()
				time.Sleep(time.Second) // the server closes after half of one
			})
		})
	}
}
