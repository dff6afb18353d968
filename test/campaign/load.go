package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
)

const (
	sharedRepo = "shared/app" // that all push to
	sharedTags = 4
)

// A pusher is a client that pushes, overwrites, mounts and deletes without pause.
// What it deletes is its own, so that its history says what must be left.
type pusher struct {
	*client
	c      *campaign
	repo   string
	count  int
	common [][]byte // layers that all pushers push
	images []image  // acknowledged, and not deleted
	loose  []blob   // acknowledged, and named by no manifest
	begun  *upload  // when the server went
}

type image struct{ tag, digest string }

type blob struct{ repo, digest string }

type upload struct {
	repo, location string
	data           []byte
}

// newPushers returns the pushers of a campaign, which outlive the server.
func (c *campaign) newPushers(s *server) []*pusher {
	common := [][]byte{randomBytes(30_000), randomBytes(300)}
	var all []*pusher
	for i := range pushers {
		all = append(all, &pusher{client: s.client(i), c: c, repo: fmt.Sprintf("team%d/app", i), common: common})
	}
	return all
}

// pushAll has all pushers work until ctx ends, or the server does.
func pushAll(ctx context.Context, all []*pusher) {
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			p.goOn()
			for ctx.Err() == nil && p.step() != unknown {
			}
			p.close()
		})
	}
	wg.Wait()
}

// step does one operation, and returns how it ended.
func (p *pusher) step() string {
	p.count++
	switch n := rand.IntN(100); {
	case n < 35:
		return p.push(p.repo, fmt.Sprintf("t%d", p.count))
	case n < 60:
		return p.push(sharedRepo, fmt.Sprintf("latest%d", rand.IntN(sharedTags)))
	case n < 75:
		return p.pushLoose()
	case n < 83:
		return p.mount()
	case n < 88:
		return p.deleteTag()
	case n < 93:
		return p.deleteManifest()
	}
	return p.deleteBlob()
}

// expect turns an answer into how the operation ended. Nothing that the pushers
// do is to be refused.
func (p *pusher) expect(what string, status int, r reply, err error) string {
	var answer *statusError
	if errors.As(err, &answer) {
		r, err = answer.reply, nil
	}
	switch {
	case err != nil || r.status >= 500:
		return unknown
	case r.status == status:
		return acknowledged
	}
	p.c.history.mu.Lock()
	defer p.c.history.mu.Unlock()
	p.c.report.broken("%s: status %d: %.200s", what, r.status, r.body)
	return refused
}

// push pushes an image whose layers are partly new.
func (p *pusher) push(repo, tag string) string {
	layers := [][]byte{p.common[rand.IntN(len(p.common))], randomBytes(1 + rand.IntN(60_000))}
	for _, data := range append(layers, emptyConfig) {
		if result := p.pushBlob(repo, data); result != acknowledged {
			return result
		}
	}
	body := newManifest(fmt.Sprintf("%s %d", p.user, p.count), layers...)
	digest := digestOf(body)
	result := p.c.history.write(p.id, func() string {
		r, err := p.do("PUT", "/v2/"+repo+"/manifests/"+tag, body, "Content-Type", typeManifest)
		return p.expect("push "+repo+":"+tag, http.StatusCreated, r, err)
	}, "tag "+repo+":"+tag, digest, "manifest "+repo+"@"+digest, digest)
	if result == acknowledged && repo == p.repo {
		p.images = append(p.images, image{tag, digest})
	}
	return result
}

// pushBlob pushes a blob in one of the ways that there are.
func (p *pusher) pushBlob(repo string, data []byte) string {
	digest := digestOf(data)
	return p.c.history.write(p.id, func() string {
		var r reply
		var err error
		switch n := rand.IntN(3); {
		case n == 0 && len(data) > 100:
			r, err = p.pushChunks(repo, data)
		case n == 1:
			r, err = p.do("POST", "/v2/"+repo+"/blobs/uploads/?digest="+digest, data, "Content-Type", "application/octet-stream")
		default:
			r, err = p.client.pushBlob(repo, data)
		}
		return p.expect("push blob to "+repo, http.StatusCreated, r, err)
	}, "blob "+repo+"@"+digest, digest)
}

// pushChunks remembers the upload, so that goOn can end it after a crash.
func (p *pusher) pushChunks(repo string, data []byte) (reply, error) {
	location, err := p.startUpload(repo)
	if err != nil {
		return reply{}, err
	}
	p.begun = &upload{repo, location, data}
	third := len(data) / 3
	for _, off := range []int{0, third} {
		if location, err = p.patch(location, off, data[off:off+third]); err != nil {
			return reply{}, err
		}
	}
	r, err := p.finish(location, digestOf(data), data[2*third:])
	if err == nil && r.status == http.StatusCreated {
		p.begun = nil
	}
	return r, err
}

// goOn ends an upload that a crash has cut off: it is gone, also where the crash
// came between the end of its bytes and their name, or holds what was sent first.
func (p *pusher) goOn() {
	u := p.begun
	p.begun = nil
	if u == nil {
		return
	}
	n, ok, err := p.uploaded(u.location)
	if err != nil || !ok {
		return
	}
	digest := digestOf(u.data)
	p.c.history.write(p.id, func() string {
		r, err := p.finish(u.location, digest, u.data[min(n, len(u.data)):])
		if err == nil && r.status == http.StatusNotFound {
			return refused
		}
		return p.expect(fmt.Sprintf("go on with an upload of %d bytes at %d", len(u.data), n), http.StatusCreated, r, err)
	}, "blob "+u.repo+"@"+digest, digest)
}

func (p *pusher) pushLoose() string {
	data := randomBytes(1 + rand.IntN(30_000))
	result := p.pushBlob(p.repo, data)
	if result == acknowledged {
		p.loose = append(p.loose, blob{p.repo, digestOf(data)})
	}
	return result
}

func (p *pusher) mount() string {
	if len(p.loose) == 0 {
		return acknowledged
	}
	b := p.loose[rand.IntN(len(p.loose))]
	to := fmt.Sprintf("team%d/mounts", p.id)
	if b.repo == to {
		return acknowledged
	}
	result := p.c.history.write(p.id, func() string {
		r, err := p.do("POST", "/v2/"+to+"/blobs/uploads/?mount="+b.digest+"&from="+b.repo, nil)
		if err == nil && r.status == http.StatusAccepted && !p.canPull(b) {
			return unknown // a blob that cannot be read is not mounted, and may be pushed
		}
		return p.expect("mount "+b.digest, http.StatusCreated, r, err)
	}, "blob "+to+"@"+b.digest, b.digest)
	if result == acknowledged {
		p.loose = append(p.loose, blob{to, b.digest})
	}
	return result
}

// canPull reports whether the blob is served. One that is missing is the
// checker's business.
func (p *pusher) canPull(b blob) bool {
	r, err := p.do("GET", "/v2/"+b.repo+"/blobs/"+b.digest, nil)
	return err == nil && r.status == http.StatusOK
}

func (p *pusher) deleteTag() string {
	img, ok := take(&p.images)
	if !ok {
		return acknowledged
	}
	return p.c.history.write(p.id, func() string {
		r, err := p.do("DELETE", "/v2/"+p.repo+"/manifests/"+img.tag, nil)
		return p.expect("delete tag "+img.tag, http.StatusAccepted, r, err)
	}, "tag "+p.repo+":"+img.tag, "")
}

func (p *pusher) deleteManifest() string {
	img, ok := take(&p.images)
	if !ok {
		return acknowledged
	}
	return p.c.history.write(p.id, func() string {
		r, err := p.do("DELETE", "/v2/"+p.repo+"/manifests/"+img.digest, nil)
		return p.expect("delete manifest "+img.digest, http.StatusAccepted, r, err)
	}, "tag "+p.repo+":"+img.tag, "", "manifest "+p.repo+"@"+img.digest, "")
}

func (p *pusher) deleteBlob() string {
	b, ok := take(&p.loose)
	if !ok {
		return acknowledged
	}
	for i := 0; i < len(p.loose); i++ { // a blob that was mounted twice is deleted once
		if p.loose[i] == b {
			p.loose = append(p.loose[:i], p.loose[i+1:]...)
			i--
		}
	}
	return p.c.history.write(p.id, func() string {
		r, err := p.do("DELETE", "/v2/"+b.repo+"/blobs/"+b.digest, nil)
		return p.expect("delete blob "+b.digest, http.StatusAccepted, r, err)
	}, "blob "+b.repo+"@"+b.digest, "")
}

// take removes one of the values at random.
func take[T any](from *[]T) (T, bool) {
	s := *from
	if len(s) == 0 {
		var none T
		return none, false
	}
	i := rand.IntN(len(s))
	v := s[i]
	s[i] = s[len(s)-1]
	*from = s[:len(s)-1]
	return v, true
}
