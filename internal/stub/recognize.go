package stub

import (
	"bytes"
	"hash/fnv"
	"image"
	_ "image/jpeg" // formats that DecodeConfig knows
	_ "image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// labels are what the stub sees in pictures.
var labels = []string{"cat", "dog", "bicycle", "tree", "house", "person", "cloud", "cup"}

// Label is one thing seen in an image.
type Label struct {
	Label string  `json:"label"`
	Score float64 `json:"score"` // 0 to 1
}

// Recognition is the answer of POST /recognize for one image.
type Recognition struct {
	Name   string  `json:"name"` // file name of the part
	Format string  `json:"format"`
	Width  int     `json:"width"`  // pixels
	Height int     `json:"height"` // pixels
	Bytes  int     `json:"bytes"`
	Labels []Label `json:"labels"`
}

// recognize labels the first image of a multipart body. The labels depend on its
// bytes alone.
func (s *Server) recognize(w http.ResponseWriter, r *http.Request, body []byte) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		writeError(w, http.StatusUnsupportedMediaType, "send multipart/form-data with an image")
		return nil
	}
	name, picture, err := firstFile(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	if err != nil {
		writeError(w, http.StatusBadRequest, "the multipart body has no file")
		return nil
	}
	size, format, err := image.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		writeError(w, http.StatusBadRequest, "the file is neither PNG nor JPEG")
		return nil
	}
	if err := s.computeAll(r.Context(), 1); err != nil {
		return err
	}
	h := fnv.New64a()
	_, _ = h.Write(picture)
	sum := h.Sum64()
	writeJSON(w, http.StatusOK, Recognition{
		Name: name, Format: format, Width: size.Width, Height: size.Height, Bytes: len(picture),
		Labels: []Label{
			{labels[sum%8], 0.5 + float64(sum>>8%50)/100},
			{labels[(sum+3)%8], float64(sum>>16%50) / 100},
		},
	})
	return nil
}

// firstFile returns name and content of the first part that is a file.
func firstFile(mr *multipart.Reader) (string, []byte, error) {
	for {
		part, err := mr.NextPart()
		if err != nil {
			return "", nil, err
		}
		if part.FileName() == "" {
			continue
		}
		content, err := io.ReadAll(part)
		return part.FileName(), content, err
	}
}
