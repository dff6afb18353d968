package server

import (
	"net/http"
	"slices"

	"berth/access"
)

// methods are all that any route knows.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// A route is what can be done with a kind of target.
type route struct {
	label string // of the metrics, as Distribution names them
	open  bool   // nobody is asked who he is
	ops   []operation
}

// A handler answers a request, or returns why it has not.
type handler func(*Server, *exchange) error

// An operation is one method of a route.
type operation struct {
	method string
	action access.Action // that a token is needed for
	login  bool          // needs a login, or a token for nobody, whatever the rules say
	serve  handler
}

const (
	get    = http.MethodGet
	head   = http.MethodHead
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete
)

// routes is the one table of routes. Docker learns only from a 401 of the base
// path that there is anything to log in to, hence its login.
var routes = [...]route{
	kindNone:    {label: "base", open: true},
	kindRoot:    {"base", true, []operation{{get, 0, false, (*Server).root}, {head, 0, false, (*Server).root}}},
	kindLive:    {"health", true, []operation{{get, 0, false, (*Server).live}, {head, 0, false, (*Server).live}}},
	kindReady:   {"health", true, []operation{{get, 0, false, (*Server).ready}, {head, 0, false, (*Server).ready}}},
	kindMetrics: {"metrics", false, []operation{{get, access.Admin, false, (*Server).showMetrics}}},
	kindToken:   {"token", true, []operation{{get, 0, false, (*Server).getToken}, {post, 0, false, (*Server).postToken}}},
	kindKeys:    {"token", true, []operation{{get, 0, false, (*Server).keys}}},
	kindPing:    {"base", true, []operation{{get, 0, false, (*Server).ping}, {head, 0, false, (*Server).ping}}},
	kindSearch:  {"search", false, []operation{{get, access.List, false, (*Server).search}}},
	kindBase:    {"base", false, []operation{{get, 0, true, (*Server).version}, {head, 0, true, (*Server).version}}},
	kindCatalog: {"catalog", false, []operation{{get, access.List, true, (*Server).catalog}, {head, access.List, true, (*Server).catalog}}},
	kindTags:    {"tags", false, []operation{{get, access.List, false, (*Server).tags}, {head, access.List, false, (*Server).tags}}},
	kindReferrers: {"referrers", false, []operation{
		{get, access.Pull, false, (*Server).referrers}, {head, access.Pull, false, (*Server).referrers},
	}},
	kindManifest: {"manifest", false, []operation{
		{get, access.Pull, false, (*Server).getManifest}, {head, access.Pull, false, (*Server).getManifest},
		{put, access.Push, false, (*Server).putManifest}, {remove, access.Delete, false, (*Server).deleteManifest},
	}},
	kindBlob: {"blob", false, []operation{
		{get, access.Pull, false, (*Server).getBlob}, {head, access.Pull, false, (*Server).getBlob},
		{remove, access.Delete, false, (*Server).deleteBlob},
	}},
	kindUploads: {"blob_upload", false, []operation{{post, access.Push, false, (*Server).startUpload}}},
	kindUpload: {"blob_upload_chunk", false, []operation{
		{get, access.Push, false, (*Server).uploadStatus}, {head, access.Push, false, (*Server).uploadStatus},
		{patch, access.Push, false, (*Server).patchUpload}, {put, access.Push, false, (*Server).finishUpload},
		{remove, access.Push, false, (*Server).cancelUpload},
	}},
	kindPage: {"page", true, []operation{
		{get, 0, false, (*Server).showPage}, {head, 0, false, (*Server).showPage}, {post, 0, false, (*Server).showPage},
	}},
}

func (r *route) find(method string) *operation {
	i := slices.IndexFunc(r.ops, func(op operation) bool { return op.method == method })
	if i < 0 {
		return nil
	}
	return &r.ops[i]
}

// methods returns the methods of the route.
func (r *route) methods() []string {
	names := make([]string, len(r.ops))
	for i := range r.ops {
		names[i] = r.ops[i].method
	}
	return names
}
