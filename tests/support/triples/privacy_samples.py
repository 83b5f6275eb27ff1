"""Lines with addresses of people, and lines with what only looks so: written by hand, then varied.

Each template stands for a shape seen in real repositories. `POSITIVES` holds `(line, what must
go)`, `NEGATIVES` lines that must stay as they are. A `{e}`, `{d}`, `{4}`, `{6}` is filled from the
lists below, in turn, so that the sets are the same on every machine.
"""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

EMAILS = (
    "ann.lee@gmail.com", "bob@acme.io", "o'hara@mail.dublin.ie", "josé@correo.es", "j.r+git@corp.co.uk",
    "ann@xn--mller-kva.de", "zoë@müller.de", "почта@пример.рф", "用户@例子.公司", "x_y@uni-bonn.de",
    "kim99@naver.com", "bob@163.com", "a.b.c@cs.stanford.edu", "marko@etf.rs", "jan@firma.pl",
    "ana@empresa.com.br", "ann@xn--80ak6aa92e.xn--p1ai", "dev-team@startup.dev", "me@blog.me",
    "q@fastmail.fm", "Ann.Lee@Acme.COM", "ANN@ACME.ORG", "Bob@Acme.Com", "d'angelo@studio.it",
    "li.wei@tsinghua.edu.cn", "taro@sony.co.jp", "root.admin@server-01.hosting.net", "ann-lee@x.ai",
    "12345678@qq.com", "user.name+tag+sorting@corp.org", "sven@kde.org", "m@uio.no", "ops@acme.cloud",
    "s.kumar@iitb.ac.in", "li@mail.gov.sg", "ann%dept@corp.net", "_bot@acme.tech", "k@y.to",
)  # fmt: skip
EMAIL_LINES = (
    "# Author: Ann Lee <{e}>", "// contact {e} for access", "/* mailto:{e} */", "x = '{e}'",
    'send_mail(to="{e}", cc=None)', "{e}", "maintainer: {e}", "<a href=\"mailto:{e}\">mail</a>",
    "Reported by {e}.", "({e})", "[{e}]", "* {e}, who wrote it", "to={e}&subject=hi", "{e};", "b'{e}'",
    'f"{e}"', "sip:{e}", "<email>{e}</email>", "'mail' => '{e}',", "`{e}`", "Write to {e}!",
    "email:{e}", "-{e}", "+    author = '{e}'", "\\t{e}\\n", "'\\n{e}'", "@author {e}", "{e}:", "{e}?",
    "MAIL FROM:<{e}>", "<{e}>", "git config user.email {e}", "authors = [\"Ann <{e}>\"]", "{e}...",
    "{e}.The next", "assert parse(\"{e}\") == 1", "{e} {e}", "# {e}: fix me", "--author={e}", "|{e}|",
)  # fmt: skip
ODD_EMAILS = (
    ('"ann lee"@acme.io', '"ann lee"@acme.io'),
    ('to "ann o\'hara"@acme.io.', '"ann o\'hara"@acme.io'),
    ("请联系ann@corp.cn谢谢", "ann@corp.cn"),
    ("連絡先はtaro@sony.co.jpまで", "taro@sony.co.jp"),
    ('$mail = "ann\\@cpan.org";', "ann\\@cpan.org"),
    ("?to=ann%40acme.io&x=1", "ann%40acme.io"),
    ("ann (at) acme.io", "ann (at) acme.io"),
    ("ann [at] acme.io", "ann [at] acme.io"),
    ("mailto:ann@smith.name", "ann@smith.name"),
    ("e-mail: 'ann@ui.ac.id'", "ann@ui.ac.id"),
    ("Ann <ann@smith.name>", "ann@smith.name"),
    ('"ann@smith.name"', "ann@smith.name"),
)
IPS4 = ("8.8.8.8", "91.198.174.192", "93.184.216.34", "151.101.1.69", "1.1.1.1", "104.16.132.229",
        "185.199.108.153", "52.95.110.1", "216.58.214.14", "8.8.4.4")  # fmt: skip
IP4_LINES = (
    "host = '{4}'", "curl http://{4}/x", "{4}:8080", "nameserver {4}", "ping {4}", "allow {4}/32;",
    "from {4} port 22", "('{4}', 53)", "server {4};", "::ffff:{4}", "[{4}]", "{4}, 10.0.0.1",
    "A {4}.", "{4} - - [10/Oct/2000] GET /", "X-Forwarded-For: {4}", "deny from {4}", "'{4}' => 1,",
    "https://u:p@{4}:8443/a", "| {4} |", "# {4}", "ssh root@{4}", "addr:{4}", "INET_ADDR=\"{4}\"", "{4}-{4}",
)  # fmt: skip
SMALL4 = ("1.2.3.4", "9.4.2.1", "12.7.3.22")
SMALL4_LINES = ("ip = '{4}'", "http://{4}/", "{4}:443", "ping {4}", "remote_addr: {4}", "ipv4={4}")
IPS6 = ("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001:82a::200e", "2620:fe::fe",
        "2A03:2880:F12F:83:FACE:B00C:0:25DE", "2400:cb00:2048:1::6814:155")  # fmt: skip
IP6_LINES = (
    "host = '{6}'", "http://[{6}]:80/", "AAAA {6}", "ping6 {6}.", "{6}: timed out", "{6}/64", "addr:{6}",
    "({6})", "{6}%eth0", "x, {6}, y", "listen [{6}]:443;", "'{6}'", "ip -6 route add {6}", "\"{6}\",",
)  # fmt: skip

LOOK_ALIKE_EMAILS = (
    # density of images, names of files
    "logo@2x.png", "icon@3x~ipad.png", "bg@2x.app", "hero@1.5x.zip", "sprite@4x.webp", "a@2x.jpg",
    "url(img/logo@2x.png)", "require('./logo@3x.png')", "cp icon@2x.png icon@2x.mov", "foo@bar.js",
    "docs/page@home.md", "bin/run@prod.sh", "assets/x@dark.ai", "style@main.css", "src/a@b.py",
    # Kotlin, Scala, Java, C#, Swift
    "this@Main.title", "this@MainActivity.name", "super@Outer.name", "return@forEach.value",
    "this@Foo.id", "this@run.size", "break@outer.loop", "case n@Node.Name =>", "x@Some.App",
    "xs@List.Map", "String@org.x.Nullable", "java.util.@Nullable List", "java.lang.@a.b.C String",
    "label@Foo.name", "p@model.name", "it@data.map { x }", "@Inject lateinit var a: B.C",
    "public @interface Foo.Bar", "val x = y@z.name", "node@ast.Name", "this@Dialog.show()",
    # systemd
    "wg-quick@wg0.service", "getty@tty1.service", "user@1000.service", "foo@bar.socket",
    "backup@home.timer", "fsck@dev-sda.target", "systemctl start vpn@office.target", "x@.service",
    "postgresql@15-main.service", "openvpn-client@acme.service", "a@b.mount", "'multi@user.target'",
    # Python: matrices, decorators
    "x@self.weight", "x@self.name", "y = x@w.T", "q@k.transpose(1, 2)", "a@b.mean()", "h@self.data",
    "q@k.mT", "x@params.W", "x @ self.weight", "@app.route('/x')", "@pytest.mark.name", "u@s.id",
    "return x@y.data", "z = a@b.map(f)", "A@B.T@C.T", "x@w.real", "self.q@self.k.data", "@a.b.c",
    "x@y.abs", "out = h@net.host", "m@n.view(3)", "q@k.to(x)", "x@w.is[0]", "@self.in",
    # packages, versions
    "pkg@1.2.3", "@babel/core@7.1.0", "actions/checkout@v4.1.0", "react@18.2.0-rc.1", "x@v2.dev",
    "lodash@npm:4.17", "foo@1.0.0-beta.next", "npm i a@1.x", "go get x.org/y@v0.1.2", "lib@3.app",
    "uses: a/b@v4.x", "typescript@next", "image:tag@sha256:abc.def", "x@1.0.name", "a@^1.2.id",
    "pkg@workspace.name", "vue@3.2.to", "@scope/pkg", "@types/node@20.1.md", "x@~2.0.1",
    # places of git and ssh
    "git@github.com:x/y.git", "git@bitbucket.org", "git clone git@gitlab.com:a/b", "hg@bitbucket.org",
    "ssh://git@github.com/x", "https://ann@bitbucket.org/t/r.git", "ann@host.com:src/repo.git",
    "scp x ann@build.acme.com:/srv/x", "rsync a@b.net:~/x .", "ssh://ann@host.org:22/r",
    "postgres://u:p@db.acme.com/x", "root@localhost", "ssh user@host", "ann@box.local", "svn@x.org",
    "redis://:secret@cache.acme.com:6379", "user@192.168.1.1", "gitea@code.acme.io", "aur@aur.org",
    "amqp://guest:guest@mq.acme.io", "git@ssh.dev.azure.com:v3/a/b", "node1@db.internal",
    # placeholders, reserved
    "%s@acme.com", "{user}@acme.com", "${USER}@acme.com", "$USER@acme.com", "#{u}@acme.com",
    "<user>@acme.com", "%(name)s@acme.com", "*@acme.com", "@acme.com", "{{ u }}@acme.com", "%d@a.io",
    "user@example.com", "a@example.org", "x@mail.example.net", "a@b.test", "a@b.invalid", "a@b.example",
    "ann@localhost", "x@foo.localhost", "$(whoami)@acme.com", "%USER%@acme.com",
    # Ruby, Perl, PHP, shells, others
    "@name.title", "foo(@bar.name)", "a = [@x.id, @y.id]", "$@.name", "@$x.name", "#@foo.name", "@@x.id",
    "@property.name", "@media screen", "@import url(x.com)", "[@id.name]", "${arr[@]}.com", "$x@$y.com",
    "<a@b>", "a@b", "@", "x@", "@x.com", "x@.com", "x@com", "x@y.", "x@-y.com", "x@y_z.com", "..@x.com",
    "x.@y.com", "a..b@c.com", "foo@bar.baz", "foo@bar.rb", "M@x.Call", "Home@index.show", "x@y.select",
    "{@link foo.bar}", "{@code x.y}", "@foo@bar", "x@@y.com", "dash-@x.q", "@ann.lee", "x =@ y.com",
    "e@f.g", "a@b.c", "HEAD@{1}", "stash@{0}.name", "origin/x@{u}", "v@e.html", "u@v.xml", "p@q.json",
)  # fmt: skip
LOOK_ALIKE_IPS = (
    # private, loop-back, documentation, masks, special
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "192.168.1.1", "172.16.0.9", "169.254.169.254", "192.0.2.55",
    "198.51.100.7", "203.0.113.9", "255.255.255.0", "255.255.255.255", "224.0.0.1", "239.255.255.250",
    "100.64.0.1", "128.0.0.0", "255.255.0.0", "198.18.0.1", "8.8.0.0/16", "192.0.0.0",
    "2001:db8::1", "::1", "fe80::1", "fd00::1", "ff02::1", "::", "2001:db8:85a3::8a2e:370:7334", "fc00::",
    # versions and numbers
    "version = \"1.2.3.4\"", "v1.2.3.4", "Version=4.0.30.1", "FileVersion(\"10.4.93.2\")", "x==91.2.3.4",
    "pkg-1.2.3.4.tar.gz", "lib_91.2.3.4.dll", "Chrome/96.0.110.4", "1.2.3.4-SNAPSHOT", "5.6.7.8.RELEASE",
    "<version>1.2.3.4</version>", "\"~> 1.2.3.4\"", ">=33.1.2.4", "section 4.3.2.1", "§ 4.3.2.1",
    "2.5.4.3", "2.5.29.15", "1.3.6.1", "1.3.6.1.4.1.311", "1.2.3.4.5", "300.1.1.1", "1.2.3", "01.02.03.04",
    "AssemblyVersion(\"1.0.0.0\")", "release 3.4.5.6", "build 2.14.7.9", "pkg@1.2.3.4", "x = 1.2.3.4",
    "Figure 1.2.3.4", "rev. 1.2.3.4", "padding: 1.2.3.4", "('1.2.3.4')", "1.2.3.4 and 1.2.3.5",
    "driver 31.0.15.12", "libfoo.so.1.2.3.4", "foo-91.2.3.4.whl", "boost/1.82.3.4", "ubuntu-22.4.1.9",
    # scopes, slices, times, MAC addresses, hashes
    "db::add(1)", "y[200::2]", "std::abc", "fee::bad", "a::b::c", "cafe::babe", "dead::beef()", "x[::2]",
    "x[2000::2]", "x[1:2000:2]", "y[:, 2000::5]", "np.r_[2000::10]", "a[2400::4, 1]", "12:30:45",
    "23:59:59", "2024:01:15", "2023:10:11 12:13:14", "00:1a:2b:3c:4d:5e", "02:42:ac:11:00:02",
    "02:42:ac:11:00:02:aa:bb", "ab:cd:ef:01:23:45:67:89:ab:cd:ef:01:23:45:67:89", "20:30", "3000:3000",
    "2001::Foo", "2000::x", "bad::2001", "0::1", "a:b:c", "{2001:2002}", "case 2001:", "x?2001:2002",
    "2001:3000:1", "face::feed(db)", "3ff::1", "1::2", "add::ace", "Foo::2001:2", "T20:00:00", "::-1",
    "ports: 2000:2001:2002", "ee::dd<ff>", "b::c", "2001:4860", "2606:4700:zz::1", "x2606:4700::1y",
    "20ab:cd:ef:01:23:45", "d41d:8cd9:8f00:b204:e980:0998:ecf8:427e:1111", "abs::f", "c::d::e",
)  # fmt: skip
CONTEXTS = ("{x}", "    {x}", "// {x}")  # where a look-alike is tried


def _filled(
    lines: tuple[str, ...], mark: str, values: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Each line with the next value; and each value once more."""
    turn = cycle(values)
    for line in lines * (1 + len(values) // len(lines)):
        value = next(turn)
        yield line.replace(mark, value), value


def positive_emails() -> list[tuple[str, str]]:
    """Lines, and the address in them."""
    thrice = EMAIL_LINES * 3
    long = tuple(line for k, line in enumerate(thrice) if k < 3 * len(EMAIL_LINES))
    filled = [*_filled(long, "{e}", EMAILS), *_filled(EMAIL_LINES * 5, "{e}", EMAILS[::-1])]
    return [*dict.fromkeys(filled), *ODD_EMAILS]


def positive_ips() -> list[tuple[str, str]]:
    """Lines, and the public address in them."""
    filled = [
        *_filled(IP4_LINES * 9, "{4}", IPS4),
        *_filled(IP4_LINES * 9, "{4}", IPS4[::-1]),
        *_filled(SMALL4_LINES * 4, "{4}", SMALL4),
        *_filled(IP6_LINES * 5, "{6}", IPS6),
        *_filled(IP6_LINES * 7, "{6}", IPS6[::-1]),
    ]
    return list(dict.fromkeys(filled))


def negative_emails() -> list[str]:
    """Lines without an e-mail address of a person."""
    return [c.replace("{x}", x) for c in CONTEXTS for x in LOOK_ALIKE_EMAILS]


def negative_ips() -> list[str]:
    """Lines without a public IP address."""
    return [c.replace("{x}", x) for c in CONTEXTS for x in LOOK_ALIKE_IPS]
