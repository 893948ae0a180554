package bench

import (
	"io"
	"net/http"
	"testing"
	"time"
)

func TestAHeldConnectionIsOneRequestAndItsWholeAnswer(t *testing.T) {
	l, answers := newHeldListener(), make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "hello" || r.URL.Path != "/held" {
			t.Errorf("%s with %q, %v", r.URL.Path, body, err)
		}
		w.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush() // in two parts
		_, _ = io.WriteString(w, "def")
	}), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	l.conns <- &heldConn{
		request:  []byte("POST /held HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"),
		answered: func(answer []byte) { answers <- string(answer[len(answer)-6:]) },
	}
	if got := <-answers; got != "abcdef" {
		t.Errorf("the answer ends with %q", got)
	}
	_ = srv.Close()
	<-done
}

func TestHowEarlySomebodyCameIsCountedInPlaces(t *testing.T) {
	order := []string{"a", "b", "c", "d"}
	for _, c := range []struct {
		came []string
		most int
		ok   bool
	}{
		{[]string{"a", "b", "c", "d"}, 0, true},
		{[]string{"b", "a", "c", "d"}, 1, true},
		{[]string{"d", "a", "b", "c"}, 3, true},
		{[]string{"a", "b", "c"}, 0, false},
		{[]string{"a", "b", "c", "c"}, 0, false},
		{[]string{"a", "b", "c", "x"}, 0, false},
	} {
		most, err := displaced(order, c.came)
		if (err == nil) != c.ok || c.ok && most != c.most {
			t.Errorf("%v: %d, %v; want %d", c.came, most, err, c.most)
		}
	}
}
