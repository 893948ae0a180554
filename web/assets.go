package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
)

//go:embed static
var staticFiles embed.FS

// assets are the embedded files under one path that changes with their content,
// so that a browser may keep them for ever and modules may import one another
// by relative path.
type assets struct {
	base  string // /static/HASH/
	files map[string]asset
}

type asset struct {
	media        string
	plain, small []byte // small is gzipped, nil if that gains nothing
}

// loadAssets reads and compresses the embedded files, which never change, once.
var loadAssets = sync.OnceValues(readAssets)

func readAssets() (*assets, error) {
	a := &assets{files: make(map[string]asset)}
	all := sha256.New()
	err := fs.WalkDir(staticFiles, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := staticFiles.ReadFile(name)
		if err != nil {
			return err
		}
		name = strings.TrimPrefix(name, "static/")
		all.Write([]byte(name + "\x00"))
		all.Write(content)
		a.files[name], err = newAsset(name, content)
		return err
	})
	a.base = "/static/" + hex.EncodeToString(all.Sum(nil))[:12] + "/"
	return a, err
}

func newAsset(name string, content []byte) (asset, error) {
	media := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // not left to the machine's own table
	case ".js":
		media = "text/javascript; charset=utf-8"
	case ".css":
		media = "text/css; charset=utf-8"
	case ".svg":
		media = "image/svg+xml"
	case ".LICENSE":
		media = "text/plain; charset=utf-8"
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return asset{}, err
	}
	if _, err := w.Write(content); err != nil {
		return asset{}, err
	}
	if err := w.Close(); err != nil {
		return asset{}, err
	}
	f := asset{media: media, plain: content}
	if b.Len() < len(content) {
		f.small = b.Bytes()
	}
	return f, nil
}

// serve answers a file. A page of an earlier version may still ask under its own
// hash: it gets today's file, but must not keep it.
func (a *assets) serve(c echo.Context) error {
	name := c.Param("*")
	f, known := a.files[name]
	if !known {
		return echo.ErrNotFound
	}
	h := c.Response().Header()
	if "/static/"+c.Param("hash")+"/" == a.base {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Vary", "Accept-Encoding")
	if f.small != nil && strings.Contains(c.Request().Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		return c.Blob(http.StatusOK, f.media, f.small)
	}
	return c.Blob(http.StatusOK, f.media, f.plain)
}

func (a *assets) favicon(c echo.Context) error {
	return c.Blob(http.StatusOK, "image/svg+xml", a.files["favicon.svg"].plain)
}
