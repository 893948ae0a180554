package front

import (
	"fmt"
	"io"
	"net"
	"time"
)

// refuse tells a client that there are too many connections. It takes a second at
// most; when many are being told, the next ones are just closed.
func (cs *Connections) refuse(nc net.Conn) {
	cs.refused.Add(1)
	select {
	case cs.refusing <- struct{}{}:
	default:
		if tcp, ok := nc.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // leave nothing behind in the kernel either
		}
		_ = nc.Close()
		return
	}
	go func() {
		defer func() { <-cs.refusing }()
		defer func() { _ = nc.Close() }()
		_ = nc.SetDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(nc, cs.refusal()); err != nil {
			return
		}
		half, ok := nc.(interface{ CloseWrite() error })
		if !ok || half.CloseWrite() != nil {
			return
		}
		// What the client has sent must be read, or the answer is lost with a reset.
		_, _ = io.Copy(io.Discard, io.LimitReader(nc, 64<<10))
	}()
}

func (cs *Connections) refusal() string {
	body := fmt.Sprintf(`{"type":"urn:pilotlight:problem:too-many-connections","title":"too many connections","status":503,`+
		`"detail":"all %d connections that this activator takes are at work; send requests over fewer ones, or raise --max-connections","retry_after_s":1}`+"\n", cs.cfg.Max)
	return fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s", len(body), body)
}
