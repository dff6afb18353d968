package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
)

const (
	repoImage = "bench/image"
	repoPush  = "bench/push"
	repoFew   = "bench/tags-few"
	repoMany  = "bench/tags-many"

	repoPublic = "public/image"

	page = 50
)

// A row is one kind of work, done in some modes by some numbers of clients.
type row struct {
	name    string
	modes   []mode
	clients []int
	size    int64                  // bytes that one op moves, where that is what counts
	against func(*lab) []*target   // in the order in which they are measured
	prepare func(*lab) error       // what must be stored before; run once
	work    func(*lab, mode) maker // of what is then repeated
	quick   bool                   // also in a quick run
}

// A maker returns the op for a target. It may do work that is not measured.
type maker func(*target) (op, error)

func registries(l *lab) []*target { return []*target{l.berth, l.peer} }

func withFiles(l *lab) []*target {
	if l.files == nil {
		return registries(l)
	}
	return append(registries(l), l.files)
}

func tokenServers(l *lab) []*target { return []*target{l.berth, l.standIn} }

// sizes are how much there is of what a run moves and lists.
type sizes struct {
	layer     int64 // bytes of the large layer
	few, many int   // tags of a repository, repositories of a registry
	users     int   // in a directory, and in a password file
}

// rows returns all work. Basic with a bcrypt for every request is not asked of
// 64 clients where one op is many requests: a round would take minutes.
func rows(n sizes) []row {
	var (
		all      = []mode{anonymous, basic, bearer}
		many     = []int{1, 8, 64}
		fixture  = newFixture(n)
		everyone = func(name string, quick bool, work func(*lab, mode) maker) row {
			return row{name: name, modes: all, clients: many, against: registries, prepare: fixture.store, work: work, quick: quick}
		}
	)
	blob := everyone(nameBlob, true, fixture.getBlob)
	blob.against = withFiles
	pull := everyone(namePull, true, fixture.pull)
	push := everyone(namePush, true, fixture.push)
	pull.clients, push.clients = []int{1, 8}, []int{1, 8}
	pull64, push64 := pull, push
	pull64.clients, push64.clients = []int{64}, []int{64}
	pull64.modes, push64.modes = []mode{anonymous, bearer}, []mode{anonymous, bearer}
	pull64.quick, push64.quick = false, false
	large := []mode{anonymous, basic}
	return append([]row{
		everyone("ping", false, ping),
		everyone(nameHead, true, fixture.headManifest),
		everyone(nameGet, true, fixture.getManifest),
		blob, pull, pull64, push, push64,
		{name: nameLargePull, modes: large, clients: []int{1, 8}, size: n.layer, against: withFiles, prepare: fixture.storeLarge, work: fixture.getLarge, quick: true},
		{name: nameLargePush, modes: large, clients: []int{1}, size: n.layer, against: registries, work: fixture.pushLarge, quick: true},
		tagRow(nameTagsFew, repoFew, n.few), tagRow(nameTagsMany, repoMany, n.many),
		catalogRow(nameReposFew, n.few), catalogRow(nameReposMany, n.many),
		{name: nameToken, modes: []mode{basic}, clients: many, against: tokenServers, work: token, quick: true},
	}, fixture.directoryRows(n)...)
}

const (
	nameHead      = "HEAD manifest by tag"
	nameGet       = "GET manifest by digest"
	nameBlob      = "GET blob of 64 KiB"
	namePull      = "pull small image"
	namePush      = "push small image"
	nameLargePull = "pull large layer"
	nameLargePush = "push large layer"
	nameTagsFew   = "tag page, few"
	nameTagsMany  = "tag page, many"
	nameReposFew  = "catalog page, few"
	nameReposMany = "catalog page, many"
	nameToken     = "token"

	nameLogin      = "login, remembered"
	nameFirstLogin = "login, first"
	nameUserPull   = "HEAD manifest, remembered"
	nameFirstPull  = "HEAD manifest, first"
)

// repeat is the op of a request that is the same every time.
func repeat(want int, request []byte) op {
	return func(c *conn) error {
		_, err := c.do(want, request, nil)
		return err
	}
}

// ping asks for /v2/. Without credentials that is a challenge where
// authentication is on, as it is in berth.
func ping(l *lab, m mode) maker {
	return func(t *target) (op, error) {
		want := 200
		if m == anonymous && t == l.berth {
			want = 401
		}
		return repeat(want, head("GET", "/v2/", l.auth[m])), nil
	}
}

func token(l *lab, m mode) maker {
	return func(*target) (op, error) {
		return repeat(200, head("GET", "/auth/token?service="+service+"&scope=repository:"+repoImage+":pull,push", l.auth[m])), nil
	}
}

func tagRow(name, repo string, count int) row {
	return row{
		name: name, modes: []mode{anonymous}, clients: []int{1, 8}, against: registries, quick: true,
		prepare: func(l *lab) error { return l.seedTags(repo, count) },
		work: func(l *lab, m mode) maker {
			path := "/v2/" + repo + "/tags/list?n=" + strconv.Itoa(page) + "&last=" + tagName(count/2-1)
			return func(t *target) (op, error) { return listing(l, t, m, path, tagName(count/2-1+page)) }
		},
	}
}

func catalogRow(name string, count int) row {
	return row{
		name: name, modes: []mode{bearer}, clients: []int{1, 8}, against: registries, quick: true,
		prepare: func(l *lab) error { return l.seedRepos(count) },
		work: func(l *lab, m mode) maker {
			path := "/v2/_catalog?n=" + strconv.Itoa(page) + "&last=" + repoName(count/2-1)
			return func(t *target) (op, error) { return listing(l, t, m, path, repoName(count/2-1+page)) }
		},
	}
}

// A fixture is the content that rows push and pull.
type fixture struct {
	configs, layers, large *source
	image                  *image // that is pulled
	largeBlob              *blob
	pushed                 atomic.Uint64
}

func newFixture(n sizes) *fixture {
	return &fixture{
		configs: newSource(configSize, 1),
		layers:  newSource(layerSize, 2),
		large:   newSource(n.layer, 3),
	}
}

const imageTag = "v1"

// each runs f over a connection to both registries, without credentials.
func (l *lab) each(f func(*conn) error) error {
	for _, t := range registries(l) {
		c, err := dial(t.at[anonymous].addr, patience)
		if err != nil {
			return err
		}
		defer c.close()
		if err := f(c); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// store pushes the image that is pulled afterwards, and reads it back.
func (f *fixture) store(l *lab) error {
	return l.once("image", func() error {
		var err error
		if f.image, err = newImage(f.configs, f.layers, imageLayers); err != nil {
			return err
		}
		layer := f.image.blobs[1]
		if err := l.addFile(blobPath(layer), layer); err != nil {
			return err
		}
		return l.each(func(c *conn) error {
			if err := pushImage(c, repoImage, "", imageTag, f.image); err != nil {
				return err
			}
			for _, b := range f.image.blobs {
				if err := verify(c, head("GET", blobPath(b)), b.digest); err != nil {
					return err
				}
			}
			return verify(c, head("GET", "/v2/"+repoImage+"/manifests/"+imageTag, accept), f.image.digest)
		})
	})
}

func (f *fixture) storeLarge(l *lab) error {
	return l.once("large layer", func() error {
		var err error
		if f.largeBlob, err = f.large.next(); err != nil {
			return err
		}
		if err := l.addFile(blobPath(f.largeBlob), f.largeBlob); err != nil {
			return err
		}
		return l.each(func(c *conn) error {
			if err := pushBlob(c, repoImage, "", f.largeBlob); err != nil {
				return err
			}
			return verify(c, head("GET", blobPath(f.largeBlob)), f.largeBlob.digest)
		})
	})
}

func blobPath(b *blob) string { return "/v2/" + repoImage + "/blobs/" + b.digest }

func (f *fixture) headManifest(l *lab, m mode) maker {
	return func(*target) (op, error) {
		return repeat(200, head("HEAD", "/v2/"+repoImage+"/manifests/"+imageTag, l.auth[m], accept)), nil
	}
}

func (f *fixture) getManifest(l *lab, m mode) maker {
	return func(*target) (op, error) {
		request := head("GET", "/v2/"+repoImage+"/manifests/"+f.image.digest, l.auth[m], accept)
		return func(c *conn) error { return fetch(c, request, int64(len(f.image.manifest))) }, nil
	}
}

func (f *fixture) getBlob(l *lab, m mode) maker {
	return func(*target) (op, error) { return getBlob(l, m, f.image.blobs[1]), nil }
}

func (f *fixture) getLarge(l *lab, m mode) maker {
	return func(*target) (op, error) { return getBlob(l, m, f.largeBlob), nil }
}

func getBlob(l *lab, m mode, b *blob) op {
	request := head("GET", blobPath(b), l.auth[m])
	return func(c *conn) error { return fetch(c, request, b.from.size) }
}

func (f *fixture) pull(l *lab, m mode) maker {
	return func(*target) (op, error) { return newPull(repoImage, l.auth[m], imageTag, f.image).run, nil }
}

func (f *fixture) push(l *lab, m mode) maker {
	return func(*target) (op, error) {
		return func(c *conn) error {
			image, err := newImage(f.configs, f.layers, imageLayers)
			if err != nil {
				return err
			}
			return pushImage(c, repoPush, l.auth[m], fmt.Sprintf("v%d", f.pushed.Add(1)), image)
		}, nil
	}
}

func (f *fixture) pushLarge(l *lab, m mode) maker {
	return func(*target) (op, error) {
		return func(c *conn) error {
			b, err := f.large.next()
			if err != nil {
				return err
			}
			return pushBlob(c, repoPush, l.auth[m], b)
		}, nil
	}
}
