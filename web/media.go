package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// Media types that the API speaks.
const (
	mediaJSON    = "application/json"
	mediaHCL     = "text/hcl"
	mediaProblem = "application/problem+json"
)

// mediaOf is the media type of the body of r, "" if it says none.
func mediaOf(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// wantsHCL reports whether Accept prefers text/hcl to JSON; JSON is the default.
func wantsHCL(r *http.Request) bool {
	best, hcl := 0.0, false
	for _, part := range strings.Split(r.Header.Get("Accept"), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality = q
		}
		isHCL := media == mediaHCL
		if (isHCL || media == mediaJSON || media == "*/*" || media == "application/*") && quality > best {
			best, hcl = quality, isHCL
		}
	}
	return hcl
}

func unsupportedMedia(media, allowed string) *Problem {
	return newProblem(http.StatusUnsupportedMediaType, "unsupported-media-type",
		"the body is "+quoteName(media)+"; allowed: "+allowed)
}

// readJSON decodes the body, strictly, into v; no body leaves v as it is.
func readJSON(c echo.Context, v any) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return bodyError(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if media := mediaOf(c.Request()); media != mediaJSON {
		return unsupportedMedia(media, mediaJSON)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest("the body is not the JSON that this route takes: " + err.Error())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body is more than one JSON value")
	}
	return nil
}

// bodyError keeps "too large" apart from a caller that went away.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return badRequest("the body could not be read")
}
