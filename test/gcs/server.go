// Package gcs is a Google Cloud Storage for tests: the part of the JSON API that
// a registry needs, resumable uploads to the letter, signed addresses, and the
// servers that give tokens and signatures. It misbehaves when it is told to.
package gcs

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Bucket is the only bucket.
const Bucket = "berth"

// Unit is what parts of a resumable upload are multiples of.
const Unit = 256 << 10

// A Fault is how one request goes wrong. The zero Fault is none.
type Fault struct {
	Status int  // is the answer, and nothing is done
	Lose   bool // all is done, and the connection breaks instead of the answer
	// Cut, when not 0, breaks the connection after so many bytes of the
	// request's body, or of the answer's where the request has none.
	Cut   int
	Delay time.Duration // before anything
}

// A Server is the storage.
type Server struct {
	URL string
	// Key, when it is not nil, is that of the account: requests need a token,
	// and addresses may be signed.
	Key *rsa.PublicKey
	// TokenLife is how long a token is good for, an hour when it is 0.
	TokenLife time.Duration
	// Forbidden is answered to requests for signatures.
	Forbidden bool
	// SignFor signs for an account without a key.
	SignFor *rsa.PrivateKey

	fault atomic.Pointer[func(*http.Request) Fault]

	mu       sync.Mutex
	objects  map[string]*object
	sessions map[string]*session
	tokens   map[string]time.Time
	made     int64
	requests map[string]int // by method and kind
	missing  bool           // there is no bucket
}

type object struct {
	data       []byte
	generation int64
	updated    time.Time
}

// Start starts a Server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := New()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// New returns a Server for a listener of the caller's.
func New() *Server {
	return &Server{
		objects: make(map[string]*object), sessions: make(map[string]*session),
		tokens: make(map[string]time.Time), requests: make(map[string]int),
	}
}

// Break has decide say of each request how it goes wrong, nil that none does.
func (s *Server) Break(decide func(*http.Request) Fault) {
	if decide == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&decide)
}

// Names returns the names of the objects.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Sessions returns how many uploads are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for _, u := range s.sessions {
		if u.done == nil {
			open++
		}
	}
	return open
}

// EndSessions ends all uploads, as a week does.
func (s *Server) EndSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sessions)
}

// Requests returns how many requests of a kind there were: "put", "begin",
// "part", "ask", "look", "read", "list", "delete", "cancel", "signed", "token",
// "sign".
func (s *Server) Requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[kind]
}

// RemoveBucket removes the bucket with all that is in it.
func (s *Server) RemoveBucket() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing = true
}

// Replace puts other bytes into the place of an object, as somebody may.
func (s *Server) Replace(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.make(name, data)
}

// make makes an object. The caller holds the lock.
func (s *Server) make(name string, data []byte) *object {
	s.made++
	o := &object{data: data, generation: 1_700_000_000_000_000 + s.made, updated: time.Now()}
	s.objects[name] = o
	return o
}

func sum(data []byte) string {
	n := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, n))
}

func (o *object) resource(name string) map[string]any {
	return map[string]any{
		"kind": "storage#object", "name": name, "bucket": Bucket, "size": strconv.Itoa(len(o.data)),
		"generation": strconv.FormatInt(o.generation, 10), "crc32c": sum(o.data), "updated": o.updated.Format(time.RFC3339Nano),
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if decide := s.fault.Load(); decide != nil {
		f = (*decide)(r)
	}
	time.Sleep(f.Delay)
	if f.Status != 0 {
		refuse(w, f.Status, "it was told to")
		return
	}
	if f.Cut > 0 && r.ContentLength > 0 {
		r.Body = io.NopCloser(io.LimitReader(r.Body, int64(f.Cut)))
	}
	if f.Lose || f.Cut > 0 && r.ContentLength > 0 {
		s.serve(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	if f.Cut > 0 {
		answer := httptest.NewRecorder()
		s.serve(answer, r)
		maps.Copy(w.Header(), answer.Header())
		w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()[:min(f.Cut, answer.Body.Len())])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	s.serve(w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what came before the connection broke
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := "/storage/v1/b/" + Bucket + "/o"
	path := r.URL.EscapedPath()
	switch {
	case path == "/token":
		s.token(w, body)
	case strings.HasSuffix(path, ":signBlob"):
		s.signBlob(w, r, body)
	case strings.HasPrefix(path, "/computeMetadata/"):
		s.metadata(w, r)
	case strings.HasPrefix(path, "/"+Bucket+"/"):
		s.signed(w, r)
	case path == "/upload"+objects && r.Method == http.MethodPut:
		s.part(w, r, body)
	case path == "/upload"+objects && r.Method == http.MethodDelete:
		s.cancel(w, r)
	case s.missing:
		refuse(w, http.StatusNotFound, "The specified bucket does not exist.")
	case !s.authorized(r):
		refuse(w, http.StatusUnauthorized, "Invalid Credentials")
	case path == "/upload"+objects && r.Method == http.MethodPost:
		s.upload(w, r, body)
	case path == objects:
		s.list(w, r)
	case strings.HasPrefix(path, objects+"/"):
		name, err := url.PathUnescape(strings.TrimPrefix(path, objects+"/"))
		if err != nil {
			refuse(w, http.StatusBadRequest, "bad name")
			return
		}
		s.object(w, r, name)
	default:
		refuse(w, http.StatusNotFound, "Not Found")
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": message}})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v)
}

// precondition reports whether ifGenerationMatch holds.
func (s *Server) precondition(query url.Values, name string) bool {
	want := query.Get("ifGenerationMatch")
	if want == "" {
		return true
	}
	var generation int64
	if o := s.objects[name]; o != nil {
		generation = o.generation
	}
	return want == strconv.FormatInt(generation, 10)
}

// upload begins an upload, or makes an object at once.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, body []byte) {
	query := r.URL.Query()
	name := query.Get("name")
	if !s.precondition(query, name) {
		refuse(w, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
		return
	}
	switch query.Get("uploadType") {
	case "resumable":
		s.begin(w, r, name)
	case "multipart":
		s.requests["put"]++
		s.multipart(w, r, name, body)
	default:
		refuse(w, http.StatusBadRequest, "uploadType")
	}
}

func (s *Server) multipart(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Content-Type")
		return
	}
	parts := multipart.NewReader(strings.NewReader(string(body)), params["boundary"])
	var data [2][]byte
	for i := range data {
		part, err := parts.NextPart()
		if err == nil {
			data[i], err = io.ReadAll(part)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, "Malformed multipart body.")
			return
		}
	}
	var meta struct {
		CRC32C string `json:"crc32c"`
	}
	if json.Unmarshal(data[0], &meta) != nil || meta.CRC32C != "" && meta.CRC32C != sum(data[1]) {
		refuse(w, http.StatusBadRequest, "Provided CRC32C does not match calculated CRC32C.")
		return
	}
	answer(w, s.make(name, data[1]).resource(name))
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.requests["list"]++
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("maxResults"))
	if err != nil || limit > 1000 {
		limit = 1000
	}
	items := []any{}
	next := ""
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(name, query.Get("prefix")) || name < query.Get("startOffset") || name <= query.Get("pageToken") {
			continue
		}
		if len(items) == limit {
			next = items[limit-1].(map[string]any)["name"].(string)
			break
		}
		items = append(items, s.objects[name].resource(name))
	}
	page := map[string]any{"kind": "storage#objects", "items": items}
	if next != "" {
		page["nextPageToken"] = next
	}
	answer(w, page)
}

// object looks at, reads or deletes one.
func (s *Server) object(w http.ResponseWriter, r *http.Request, name string) {
	o := s.objects[name]
	media := r.URL.Query().Get("alt") == "media"
	switch {
	case r.Method == http.MethodDelete:
		s.requests["delete"]++
	case media:
		s.requests["read"]++
	default:
		s.requests["look"]++
	}
	if o == nil {
		refuse(w, http.StatusNotFound, "No such object: "+Bucket+"/"+name)
		return
	}
	if !s.precondition(r.URL.Query(), name) {
		refuse(w, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
		return
	}
	switch {
	case r.Method == http.MethodDelete:
		delete(s.objects, name)
		w.WriteHeader(http.StatusNoContent)
	case media:
		send(w, r, o)
	default:
		answer(w, o.resource(name))
	}
}

// send sends the bytes of an object, or a range of them.
func send(w http.ResponseWriter, r *http.Request, o *object) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(o.data)))
}

// String describes the state, for a test that has failed.
func (s *Server) String() string { return fmt.Sprint(s.Names(), " and ", s.Sessions(), " sessions") }
