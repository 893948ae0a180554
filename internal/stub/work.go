package stub

import (
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Part is one line of an answer of POST /work. Each says which execution wrote
// it, for which request, and what body that one had: whoever reads an answer can
// tell whether it is whole, of one execution, and its own.
type Part struct {
	RequestID string
	Execution string // replica#n, as the log of executions counts
	Number    int    // from 1
	Of        int    // parts of the whole answer
	Bytes     int    // of the request's body
	Sum       uint32 // of the request's body: CRC-32, IEEE
}

func (p Part) String() string {
	return fmt.Sprintf("%s %s %d/%d %d %08x", p.RequestID, p.Execution, p.Number, p.Of, p.Bytes, p.Sum)
}

// ParsePart reads a line of an answer, and passes over what pads it.
func ParsePart(line string) (Part, error) {
	var p Part
	n, err := fmt.Sscanf(line, "%s %s %d/%d %d %x", &p.RequestID, &p.Execution, &p.Number, &p.Of, &p.Bytes, &p.Sum)
	if err != nil {
		return p, fmt.Errorf("%d fields of a part in %.100q: %w", n, line, err)
	}
	return p, nil
}

// work is what a request of POST /work?ms=&parts=&pad= asks for.
type work struct {
	ms    int // of computing, all parts together
	parts int
	pad   int // bytes behind each part
}

func workOf(q url.Values) (work, error) {
	w := work{parts: 1}
	for name, field := range map[string]*int{"ms": &w.ms, "parts": &w.parts, "pad": &w.pad} {
		if !q.Has(name) {
			continue
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 0 || n > 1<<20 {
			return w, fmt.Errorf("%s: %.20q is not a number from 0 to %d", name, q.Get(name), 1<<20)
		}
		*field = n
	}
	if w.parts == 0 {
		return w, fmt.Errorf("parts: want at least 1")
	}
	return w, nil
}

// work answers POST /work, part by part: as lines, or as an event stream to those
// who accept one.
func (s *Server) work(w http.ResponseWriter, r *http.Request, body []byte) error {
	asked, err := workOf(r.URL.Query())
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return nil
	}
	before, after := "", "\n"
	w.Header().Set("Content-Type", "text/plain")
	if r.Header.Get("Accept") == "text/event-stream" {
		w.Header().Set("Content-Type", "text/event-stream")
		before, after = "data: ", "\n\n"
	}
	part := Part{RequestID: requestID(r), Execution: executionOf(r.Context()), Of: asked.parts,
		Bytes: len(body), Sum: crc32.ChecksumIEEE(body)}
	padding := ""
	if asked.pad > 0 {
		padding = " " + strings.Repeat("x", asked.pad)
	}
	stream := http.NewResponseController(w)
	for part.Number = 1; part.Number <= part.Of; part.Number++ {
		wait := time.Duration(asked.ms) * time.Millisecond / time.Duration(part.Of)
		if part.Number == 1 {
			wait += s.cfg.Latency
		}
		if err := compute(r.Context(), wait); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s%s%s%s", before, part, padding, after)
		if err == nil && part.Number < part.Of {
			err = stream.Flush()
		}
		if err != nil && !s.cfg.ComputeOn {
			return err
		}
	}
	return nil
}
