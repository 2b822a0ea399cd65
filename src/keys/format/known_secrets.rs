//! Secrets and private keys that are public: printed in standards, documentation, templates or lists of leaked secrets.
//!
//! Each is long enough to pass the other checks, and whoever tries the known ones can sign any token. No option admits them.
//!
//! The list holds hashes, so that no scanner takes it for leaked secrets. To add a secret, append the output of
//!
//! ```sh
//! printf %s 'the secret' | tr -cd '[:alnum:]' | tr '[:upper:]' '[:lower:]' | sha256sum
//! ```
//!
//! and where it is printed. Letter case, and all characters but letters and digits, are ignored, because copies differ in them:
//! `your-secret-key` is `YOUR_SECRET_KEY` elsewhere.

use zeroize::Zeroizing;

use crate::jose::base64::encode_standard;
use crate::keys::backend::sha256;
use crate::keys::format::text::{from_hex, readings};

/// Where the secret is printed, if it is known: in any of its [`readings`], or encoded, because others decode a known text and use
/// the bytes.
pub(crate) fn printed_in(secret: &[u8]) -> Option<&'static str> {
    let forms = |reading: Zeroizing<Vec<u8>>| {
        let base64 = encode_standard(&reading);
        // Such a key is printed in hexadecimal, which others decode from base64.
        let from_generator = is_enumerable(&reading)
            || [&reading[..], base64.as_bytes()].iter().any(|hex| is_enumerable(&from_hex(hex)));
        [
            known(&reading),
            known(base64.as_bytes()),
            known(&to_hex(&reading)),
            from_generator.then_some("allkeysgenerator.com, whose keys are predictable"),
        ]
    };
    readings(secret).into_iter().flat_map(forms).flatten().next()
}

/// Whether it is a key of allkeysgenerator.com, the source of many tutorials' secrets, or one with changes.
///
/// In those that were seen in print each character is 34 or 35 places after the one before it in this ring, nearly always in turn. So
/// whoever knows the rule can try them all, and a list of those in print would never be complete.
fn is_enumerable(text: &[u8]) -> bool {
    const RING: &[u8] = b"abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789!/$%?&*()-+@";
    const SHORTEST: usize = 16;
    let place = |byte: &u8| RING.iter().position(|other| other == byte);
    let is_step = |(from, to): &(&u8, &u8)| {
        place(from)
            .zip(place(to))
            .is_some_and(|(from, to)| matches!((to + RING.len() - from) % RING.len(), 34 | 35))
    };
    let steps = text.iter().zip(text.iter().skip(1)).filter(is_step).count();
    text.len() >= SHORTEST && steps * 2 >= text.len()
}

fn known(secret: &[u8]) -> Option<&'static str> {
    let letters = secret.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let normal: Zeroizing<Vec<u8>> = Zeroizing::new(letters.map(u8::to_ascii_lowercase).collect());
    let hash = to_hex(&sha256(&normal));
    KNOWN.iter().find(|(known, _)| known.as_bytes() == hash.as_slice()).map(|(_, place)| *place)
}

fn to_hex(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    Zeroizing::new(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// Where the private key of a public key with this RFC 7638 thumbprint is printed, if it is known. Whoever reads it there can
/// sign.
pub(crate) fn private_key_printed_in(thumbprint: &str) -> Option<&'static str> {
    KNOWN_KEYS.iter().find(|(known, _)| *known == thumbprint).map(|(_, place)| *place)
}

/// The thumbprint of a key pair, and where its private key is printed.
#[rustfmt::skip]
const KNOWN_KEYS: &[(&str, &str)] = &[
    ("oGDmHqCJ7yzMkWEkrlZVHkvrHIyQwtlDmeq5ForUHeY", "jwt.io"),
    ("19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8", "jwt.io"),
    ("iTqXXI0zbAnJCKDaobfhkM1f-6rMSpTfyZMRp_2tKI8", "jwt.io"),
    ("IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8", "RFC 7515, appendix A.2"),
    ("oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", "RFC 7515, appendix A.3"),
    ("cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s", "RFC 7517, appendix A.2"),
    ("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "RFC 7517, appendix A.2"),
    ("9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI", "RFC 7520, section 3.4"),
    ("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "RFC 8037, appendix A.1"),
];

/// The SHA-256 of a secret's letters and digits, in lower case, and where the secret is printed.
#[rustfmt::skip]
const KNOWN: &[(&str, &str)] = &[
    ("54ef6453548ca68d33dc886b446e4a3264bcfdb8fc5b7175a1440762a1a6c163", "jwt.io"),
    ("b42111d2cc964fc29f65192fe22907ac3a73ddfadd9e97bfef30b15e22443ff5", "jwt.io"),
    ("30581c41242313bb1821915890ee904967450c16f0cf12055d1ef31db12af934", "jwt.io"),
    ("c6564561ada51c649bafd0d4215e9ad9bf1866fbbe8de83b96fbc50664c17254", "RFC 7515, appendix A.1"),
    ("25649e1c1e46e3333a07b651466bb4217685208cebb0870cb11c36d2beddbf34", "RFC 7520, section 3.5"),
    ("570dad43de1af4c925f92c16a68a50936da42b7dd6fdeb24850507a1199aac89", "FastAPI's tutorial"),
    ("910a9be7e8727aaf8299542af2fe376327272bde37b2c4aa39922111cba7c8ac", "NestJS's documentation"),
    ("fd4dec75abc2df7e4f8776e246ce733d29690230695c4ce8ea7a207eb3a939ab", "PostgREST's tutorial"),
    ("b99d4b673b9cb3943005a83ddc56659cd7c02d0f2cee601ec8e4685e980e87e2", "Supabase's local stack"),
    ("018e69268ce147bdf8d5e82daacb930c7606c11dfa7603e34326372b2c441d63", "Supabase's Docker example"),
    ("86dd94d151bd8ee2be7705ad8cfc56e201cfaab01e3fe633dd99c68016bea101", "Supabase's Docker example"),
    ("3250158d64ff77c78d9f0d5b303439495f947872db79e51047bacf71885dc796", "Hasura's documentation"),
    ("1c7cad32ce1a9aec2b33d9d56604457c1d72a9e7635b936f7e5bdb04642acd60", "Nhost's local stack"),
    ("f7adbe04af288bfc2b06185fbdffdd6de5ff7adf3c22cfa31c8959c37487066e", "Nacos's default"),
    ("bb4b42004c370d1bf56cd47a63400e39182d4db89ef4f455594949bb54d9d71e", "Nacos's documentation"),
    ("1d8c306cc23be6a21f4c36d74860c8ccba1dba6da0c3d9b4a27dc17881b8603b", "Directus's documentation"),
    ("8e5166c630951e0a858cb18cc4b2e68cc4dcb571b31ca1fc191e6735e0764533", "Directus's documentation"),
    ("53b39bf2879c279cf92f1c790d0a224dbbc1a3fa3d3ce0eba6afbd2107db2fea", "Dify's default"),
    ("282ad5f60261639fefed381976b4d0dde52eab5527a1ab2ec75d5be1efa1165b", "LibreChat's example"),
    ("328cc709b66af346d51b786bd43e2f48077769e9d78bd218bb229b41326f1cef", "SpringBlade's default"),
    ("fa1240d83cf933ac97ca540a820691a1e3d01dc0619b5523ca0f308d30379f20", "HertzBeat's default"),
    ("5e17c49443b82a0bb8e84f7a07ca23ddc4a9dcfb015030b7f11aa82b7f851ea9", "Infisical's example"),
    ("5f217f5c25be681d85962c934a4c1eba2ab5f86e19939e5e7ba0157fa588f8c1", "JHipster's template"),
    ("24b5f81d579edf8af348ae8ad46228077c48cc62acfdc3747eef3e463ad7f484", "JHipster's template"),
    ("3d12acd343db38912f1efe37d4b737f4da990a59e3dc2ce01c9f80d2fc0f41eb", "a published tutorial"),
    ("ede65b279df153db4de4d7e5908a09c0d4ca5ca6d8339c370aca5e7aa58b4796", "a published tutorial"),
    ("177735a67cfd350122acad82d729d2c680b814af8f2deef4e68a1527c0f57749", "a published tutorial"),
    ("366ceb0ef98645ff2d283bc3bf873aee0f1cc620caefe4898293d70a2b4c0be6", "a published tutorial"),
    ("5df73e1aa59d8f332c2f5fd6ea1c37d0f2266b623ea3c4efe6cb3d577fd6a5e1", "a published tutorial"),
    ("594c081d23de22b178ba34a9c8551fe23d3a7034d92717a5cb4a054337a4c714", "a published tutorial"),
    ("ffc648ffb26e6edfd9260309dd91864186bddabae82503b20d9253cd91c2ea2c", "a published tutorial"),
    ("1fa6b241457244a49319c1015f9ae861800ae3069226fed69fde6fa1b1f39349", "a published tutorial"),
    ("dc5bfb111db291faca16a05720e9c29c5da3652ff81dd0b79cdd6b4757a0f41e", "a published tutorial"),
    ("909a20f456d403cdd07a05db862034ab777325831c9cb5695954278638598a5c", "a published tutorial"),
    ("2e3bb4e5dc36f6398af5d55ae14f3fd81310012071591eacc5f21ec581b915fc", "a published tutorial"),
    ("44d66ac9304dabef17669aba1eef5dbc1dc0275cec1e9275ae6355491b3bc74f", "a published tutorial"),
    ("645ea5b463cfaa72cac3a38ba0c643e74ab26d20e51030e5dde39689f456e414", "a published tutorial"),
    ("921edb459608d2420c6052fcc1c697f69ec3020801dc277e7430794a6dd4e582", "a published tutorial"),
    ("09798cb336a4d7a935dd64aa72e14262d35410b83a309c8cf92b0e3a463d808d", "a published tutorial"),
    ("d38426ce70b567fe51fbf4db9da437d93b8117364baa63a879911c9c573622e9", "a published tutorial"),
    ("c2b05800b6dfa54ffa214810eb2271f6cd134d53a6f7a9dcfc7b1f20245c258d", "a published tutorial"),
    ("5bad983c80742e859dbd13c460e27f8aa7a5088a49641d5283d8f56a4148ca27", "a published tutorial"),
    ("3f4a6e0b5689f2f6ccab82db834380a414db9d6d7af01db446200f2f3a9a3c39", "a published tutorial"),
    ("9877be62cd59c97bdbab245b4f39262253a1c3c7b8a2176805b7e2545a70f2a5", "a published tutorial"),
    ("b5430449babbf1f21e2582bf71bbb3ea9084d3a4656bd64d154b88f6ccfdf298", "a published tutorial"),
    ("28ca275a699549afa8721d0eef23745ed58b49b8a0c3ac9f97249aa5e893b29a", "a published tutorial"),
    ("b98b49fe6db4a26919e4d16f69f61eca652c76b0ad738e3f7e4b8c9714569384", "a published tutorial"),
    ("d33389d0241fa33bed430ccbaed400605c5d6bd40ecea6f6f4ca8c367828d6b9", "a published tutorial"),
    ("c08dd7bddec88d3a621681097c903d36983fb6148c47de5d9f7d29d73bf45e99", "a published tutorial"),
    ("88782a01918a72874d869dc48f5a6e8aec56e6685ceebb31ffb02e7f94f80fba", "a published tutorial"),
    ("75c979a47847c1024ed567478d26645639227aa35b1a2cfee36e82d1e59f0cc6", "a published tutorial"),
    ("0db7e5624ca6238797c338f692abfa077c91f00f7dd9b119aa3690f112a3a5f2", "a published tutorial"),
    ("9c045b85512575b1601ea4fa85e1c9344e677161c639f39e09e8a16d9428c3b9", "a published tutorial"),
    ("acc30323e67231ba8ad6a0b6dd4bd94d762aa041dd063e954b45f0296ec58e55", "a published tutorial"),
    ("b7005c46180159d6423ddc04263c3742a007b7f5c173c702b4edb5b6d96bf048", "a public list of leaked secrets"),
    ("c1ac589c076d75c865fab0565c5136b511715eaf615881a458d583a06d1db0af", "a public list of leaked secrets"),
    ("5ba2aa34e41868a89353ef26b340777a24f7033635523ebc8a3c8d4906ebb954", "a public list of leaked secrets"),
    ("0fa2857e8106a47d3bbb335434e4091c642eb3405284b25a62f25750150e7d30", "a public list of leaked secrets"),
    ("ded024165316d474a489bb88beb9ae8f15510ada4377621f835838c682653066", "a public list of leaked secrets"),
    ("2484d38511cf4ad6c3f3fcd9796018e93f6405ff0bc16928b97ac783e741410d", "a public list of leaked secrets"),
    ("44e9b44483ab5305715847795b7ea933a48c46df0f600f08dbff8209fc7e4774", "a public list of leaked secrets"),
    ("69024f21e9ad17594dcccd93e87399af24a5426ccfe6108d1787f0335966abc4", "a public list of leaked secrets"),
    ("7d1f2171387cf94199cd7759e39993807a0b36214ad39d8e03f9d88a35fdaead", "a public list of leaked secrets"),
    ("5bd63c8c28968eec442a422438e5ccd4d761c5ba6bd6353c4a60e69bccee4c1e", "a public list of leaked secrets"),
    ("fd8c68be3eb5b754cbb1797ec0cdbc5e999dceaca81ee7a2292f2070e6d3d59b", "a public list of leaked secrets"),
    ("e687d5a9ca06faff445a1fbf637a4afe927fab7088d38f2d5ee1ef197f57b5d1", "a public list of leaked secrets"),
    ("582cc79cd52a540f27ad4351228927dd286979bbf748b848b4fd414d2c5084d4", "a public list of leaked secrets"),
    ("43d715b02b121b955ea85eaa9d423acb17829c4607167a4b6f6059a827fbfa14", "a public list of leaked secrets"),
    ("72f6ba66eb03f47b910afa733c8045f2b8c5fd337d2d349cca89087357514388", "a public list of leaked secrets"),
    ("3d8a8f086d299393f6573defa33271cc30b71da637231f2d087de8161d118f39", "a public list of leaked secrets"),
    ("2fd78f0d802859265bdf8e347177b6c83037fd44d27eed44c87e4316e304e9ad", "a public list of leaked secrets"),
    ("f5aed66dc2cef7f4260514627deb3bae4ea264b999a18a9e4d40501a6c32adfc", "a public list of leaked secrets"),
    ("6749aedf3304c583920a0a2d544346654c017fcfc2ff4d1ce1d04c4a095b3e08", "a public list of leaked secrets"),
    ("ca11bb5aa223e8719dc14c2906048880b05417a29de6f9fcc7b9e1faaf1dfa8b", "a public list of leaked secrets"),
    ("b215fcd62a0d2c3ddb6e13c14913ccf1936a08d7a1642edd8bbed5ee6d8620a3", "a placeholder of examples and templates"),
    ("ee68ff5615275f73ff8db33f3cf56d244dee827a3af4e165c71cdc78d8444545", "a placeholder of examples and templates"),
    ("22b362668fa4b314b20a59832a0e5a2aef6d524fb0b5ce96654ae1a62cbc85c7", "a placeholder of examples and templates"),
    ("af3d5bba3648198f566c04ffe32cad53ab4e9e37c7699299a9f445e5efd446a0", "a placeholder of examples and templates"),
    ("2f75dab73699940957cbd17b5e6943461cbd1ff2a1630e5678081ce877c5afcd", "a placeholder of examples and templates"),
    ("f9f64ea6d4a5da187520a803496a5ef81604d5be0287e75991e8afe6812e9872", "a placeholder of examples and templates"),
    ("eb527e6946a54152ff7e67c96bc1c029c77e1d2ba8a4c6d3d8437ec566e315de", "a placeholder of examples and templates"),
    ("34327cb9274238edb13d012f5ee081c4dbbb3ccf1275b9b02e3ee682d7ea13b0", "a placeholder of examples and templates"),
    ("d62f3c533f6d319af19534bf63bcf6e800711a82dcc70de0b02dbddd767bd094", "a placeholder of examples and templates"),
    ("43d3b10b70adecd74573e78bf8c89d2f95a70ecb18fd8451e0e51b4f96353a37", "a placeholder of examples and templates"),
    ("aa1450bb851b20e3b0d2e723508cb796eaced5deedef27d7b20d188d43a20688", "a placeholder of examples and templates"),
    ("5d5e674d760fd48a58266dd5abf83a106aee39a82f222ed1bdee45f9e6eb7436", "a placeholder of examples and templates"),
    ("b3a97ced4d6f9382f1f4dbcebbcaa06ba033c7aeb059919f5ceaa3b595e10d0b", "a placeholder of examples and templates"),
    ("ba36bea3ac254216d6be4045fdd87449f50ae34635c0b34eade0ec4dd9b43706", "a placeholder of examples and templates"),
    ("db7f75432cce338c56660ddc1aca00cd81554a4c5f13e44526a5c53ca0626832", "a placeholder of examples and templates"),
    ("92d5f430bf324467cc5656f90935a7881ce74cd99d1394a3a49e828d7d4f2e05", "a placeholder of examples and templates"),
    ("473ae94e91cb1a2ad02412f15eacb9d59a4cd271b23024c7d801887a2b04482a", "a placeholder of examples and templates"),
    ("171eff0a7f6f88e42ce4f7256cd636997010c19b19529ee3305d0a69ec6b3945", "a placeholder of examples and templates"),
    ("697ebe54e7cc0a56fcc6470ddb0271b8275fd8931609ffcd35e5a30dd69b9d27", "a placeholder of examples and templates"),
    ("669901cc45d7d999fefc85f6765fe73d100ff02b312c9e2ab13a106217b716a0", "a placeholder of examples and templates"),
    ("f823f221a78bd3d3894e7b40aea0d568fcdf9390a7afd7cad2836e5775c1b49c", "a placeholder of examples and templates"),
    ("37a71945e15d5d5d26757b4c3943d91b6e57276d63704c90f7fe99e1e0b0984c", "a placeholder of examples and templates"),
    ("d6a853c10716de2fe7484ff687035d4e9ee88654c5eaea02ed43dc427bca788e", "a placeholder of examples and templates"),
    ("1f99f7c0ebe1a110b63bd1d5f1bdb41bba7c8ab84ee4f5ef982309a8db38b927", "a placeholder of examples and templates"),
    ("9bc742ed94b585f9d51df78477eac8b1a543dba30a408ab2c9efaf8f82de43ff", "a placeholder of examples and templates"),
    ("959616edaa0c92281e6c9c622f10403237b6068b0a6388b530326462540a7246", "a placeholder of examples and templates"),
    ("56e8828feac241a7242f32a9d8fc922f813826862c282e94a2eab83d6002061b", "a placeholder of examples and templates"),
    ("ca5b5ea126754de126be1218107a6ad5d56593548f48900871172a1905ac2d1a", "a placeholder of examples and templates"),
    ("3bf7141733c0d3531f2021b1e44f41c19bc3aab9f8d9e5516d86b19696adb5ab", "a placeholder of examples and templates"),
    ("3e0843e69f1d3cb262df77b3271ed932f81330597352e12771ffc86d40dfa8f6", "a placeholder of examples and templates"),
    ("86aed60c260a0f5d6efdfad517ee4f6424fb2461d4ea19e82d811fdab0a88324", "a placeholder of examples and templates"),
    ("3e35d87e989bfc6dcd0915359b0d6bbac0cbaad5039c01ce65d13dc11c6dc577", "a placeholder of examples and templates"),
    ("ecbe1efab7270f4c12ee3e12868e5134557115268cb02a4c0f4c17465f103eb6", "a placeholder of examples and templates"),
    ("b2b2ba4a99ad5dd2795e51986712e4dcb0e8ec34a68a1dc5607487340607968e", "a placeholder of examples and templates"),
    ("74c186ac55f7454676bb28b411731fd088cdf225a4cd2f4fe59df04ae19a2f73", "a placeholder of examples and templates"),
    ("e5972bb84954f16e2b457cbe262f225586dffad6dd1eff4826762421dbb09003", "a placeholder of examples and templates"),
    ("e1a226b1324694c9ba84fc7f7cea773101b423bea04f76510c82166f67a0d9f3", "a placeholder of examples and templates"),
    ("bb56b2b8d2bac4ae0fe5336b8b8431d682d12bc81c1cacf1b7ccc6616f8ec3fd", "a placeholder of examples and templates"),
    ("996f22ea73e4ba83615ade0c00f79b371a3162dc839dbf3f58851da0b5e529b4", "a placeholder of examples and templates"),
    ("617365184882bd10aafc297f0e6157f07497e7ad861762f959cc3cd679aa3483", "a placeholder of examples and templates"),
    ("1fad9a887181a8de7552786e505519f37c00ca4f0ee10fc47838a5ec5b16b2b0", "a placeholder of examples and templates"),
    ("5d72b159889b7cb493f9ab39a1c27c7aaf4b60d4c23e7cd1200a383d6bac971b", "a placeholder of examples and templates"),
    ("ec74009d5b29f6bd2ff2836168cbed363f379dfc92c795473d12a35f25802ea1", "a placeholder of examples and templates"),
    ("7c03135677b266daafa079f2f873110e02ca8f1652936e7fc9f3b95a1474d7c3", "a placeholder of examples and templates"),
    ("83216ed34880a21aaff9bf4dfe92e8590e024526eede4f5025257b9571c62f85", "a placeholder of examples and templates"),
    ("43b078776635d79cb6cd5a26e49303014d0cb15990e3fe8ed9ab02b346b04ce4", "a placeholder of examples and templates"),
    ("4338ec55993ec05694ab59bf3851a3f9057a92b9f7b2112026b3c000ae63c5f7", "a placeholder of examples and templates"),
    ("09acda48e89e00b094a349e61e48d7d38845f1ad7ae9422ef6f8d6f2ff33982c", "a placeholder of examples and templates"),
    ("de5256057b9de8f1978b35f00dcecf70767af8bdbcefa159768785c11df5c019", "a placeholder of examples and templates"),
    ("97cafd382437c63a0175ccdb9fbac183dbde7dca4f8b1135d34c64ff640ae641", "a placeholder of examples and templates"),
    ("b9c6b6d1a89a576b9c8f2dcdd70504c95b9ef1d84d92e2c1169e81cea52c4b28", "a placeholder of examples and templates"),
    ("6eb939fda9087cee79877837ae5d3048dec00b35645b04bd255ae22c6a436318", "a placeholder of examples and templates"),
    ("07faf318175546e9810f0ad8b815dfc2c3f0911c7608ae2af47ddeab5e604173", "a placeholder of examples and templates"),
    ("68d989a49e67d3d85d8dcde96d63e5ee803e5a4b8f187faca6442a18d1b3eeac", "a placeholder of examples and templates"),
    ("ba8336af6c80365bdb23f2f25d9dd83c7d77dfd56a52527d8c628c3f0bf304c8", "a placeholder of examples and templates"),
    ("9e81758d5749b821d5b0b26b1db0175e049a26c98b4e3baadbac001f54d59cb0", "a placeholder of examples and templates"),
    ("d1b9137e1b5c5b731c31e0f8a670143bc1ab878491bf940d48bd5b8ca8dd1f52", "a placeholder of examples and templates"),
    ("a3d247a3c7cf4c659c504f952c138cf50eadbda2406c45226cd3b26bd005275a", "a placeholder of examples and templates"),
    ("98a59ec1386d3ee74732b3e7d2aa8354891e6e127379d215675206c2fec0a9fc", "a placeholder of examples and templates"),
    ("7d5f5ad0674ec2f2960b1a34f33370a0f71471fa0e3ef0c0a692977d276dafe8", "a placeholder of examples and templates"),
    ("ef344da2e4b87396dbb3d6daef782f9b99c96105f647221ee12256977b69e861", "a placeholder of examples and templates"),
    ("3a1077c3f72370b3c7235aac6a6c5c3efcd7348307fd4b4c079518b896c94128", "a placeholder of examples and templates"),
    ("57c2b2fa10c8c1c94b2af89578fb779d7e62f15982c7e52db8394d7531098a0b", "a placeholder of examples and templates"),
    ("9d48fb4e0cf92ca79fec17451d6b413d22e31078eeaebec7e717a19e68c51c01", "a placeholder of examples and templates"),
    ("b817f0ed0e2dde7268096e184f30aefc7cc3a5ed0d97b488173d6542827bb296", "a placeholder of examples and templates"),
    ("37479ee8c164ad93ce076432170cc4c17f3b3d0a9da8051c1a44c9c0a1c1339c", "a placeholder of examples and templates"),
    ("93b103a4829ce2255b9a165da43a031a5ed904a1d04e30267ea8f08cfaf4ce79", "a placeholder of examples and templates"),
    ("ff401b53042d2d4d6d54649426003a7cf027670af09829ebd7cee51ec49cddbe", "a placeholder of examples and templates"),
    ("6bc592671bfa6a06f1dfff51e485e47fa1d7008fdc8d165ca97fc63d44ea68fa", "a placeholder of examples and templates"),
    ("8f19d181438c367b0beedf065d37126e46403bc2e13606c2c196318a1bf46a21", "a placeholder of examples and templates"),
    ("eb0bf49c7b33a266f4028a17c903d3650017bc99a388ea509805702f25398221", "a placeholder of examples and templates"),
    ("10c02cd368cec5dcea21c100858bfa644da8636274659ab60d99f34f28fdfb63", "a placeholder of examples and templates"),
    ("cd1e28a95877b53cf216e349fcd95861e2c01acbb0c5f912e7012d6870087a69", "a placeholder of examples and templates"),
    ("40a5e8ec95992046eb5da0a2b0a29a190d86b2180b6f5d9ecbb6d0fe24406978", "a placeholder of examples and templates"),
    ("a0a545ce3aca49576ceba8394c8fcbaffcd53cea9e6fbae219bda4362f354a10", "a placeholder of examples and templates"),
    ("860a7c5ad975db106d35059686f88b2b911b463c31ff418e3689f1658353b361", "a placeholder of examples and templates"),
    ("7dcf84df2ec73c72d4c2ab61f20e4b712f3a486dcad47a029c41750e652375ac", "a placeholder of examples and templates"),
    ("22d89f99b42ff7fb8e0d6483b4f601bba336b8c0f8174fd7484e2aed9498cd6c", "a placeholder of examples and templates"),
    ("043ea830cc32b9199236b13b43c86f22d8d54329b55638a84cfa315ef130ae3a", "a placeholder of examples and templates"),
    ("c0be117d9322a52438a7c7fa29a88072fd0ddb786677a21a644e964c13d280dc", "a placeholder of examples and templates"),
    ("d5e3124941baa6fdcf7b1a8b192d94d7914341a02612390c3d4b4e28b8d5e51a", "a placeholder of examples and templates"),
    ("8cefd36062d5fc1d46f3efe37efb8cbccf068eecab86c6b3c070695e650d4faa", "a placeholder of examples and templates"),
    ("57f0861140c72229d5860eb00f9f4ef6e43f8f7b02c2c592555b876d84f26f02", "a placeholder of examples and templates"),
    ("30f9e1ce1896b7f59fa1de25d75cfe5aa0e87489daca17b5ff3e1ddf742c3145", "a placeholder of examples and templates"),
    ("419306ae23decce228b977d39501db4d3c5deaa64c2879e60a1201235d2d8eba", "a placeholder of examples and templates"),
    ("55c6efae33b2bfcbe0805632fa1704eee62baf27538dcd4c518d2f387eb8f4df", "a placeholder of examples and templates"),
    ("8e45665d1aaad2e47569bc64f587aaa553f48820ddc7b6439eb8c64311b00964", "a placeholder of examples and templates"),
    ("8f150c17479bbaf17cf0d687e3f51778cf3a3afaa13c9855efb59dda5d2f6d43", "a placeholder of examples and templates"),
    ("4f6247d3302488b2e483cdc67a5027a6de127b09903954787428e30faf83eb49", "a placeholder of examples and templates"),
    ("d4683a22c1ce39824d931eedc68ea8fa5259ceb03528b1a22f7075863ef8baf0", "a placeholder of examples and templates"),
    ("861009ec4d599fab1f40abc76e6f89880cff5833c79c548c99f9045f191cd90b", "a placeholder of examples and templates"),
    ("e1b85b27d6bcb05846c18e6a48f118e89f0c0587140de9fb3359f8370d0dba08", "a placeholder of examples and templates"),
    ("fb526cd4ad0ec978c1a9e78f7c0728711139978424d618eb228be59e21188970", "a placeholder of examples and templates"),
    ("e0cca2965509df678c8064f5e0b9076016fa752f88a6c749768db83479450cc5", "a placeholder of examples and templates"),
    ("f6d527e6d01865481134f29788be2afe7fc3c702e1a55d7ceafac5f35199e8dc", "a placeholder of examples and templates"),
    ("653bb1245e828fcda4fa53fcd5a3def5bd7654e651f54b4132b73d74e64435c4", "a placeholder of examples and templates"),
    ("011fc2994e39d251141540f87a69092b3f22a86767f7283de7eeedb3897bedf6", "a placeholder of examples and templates"),
    ("3717c240875cb81be8d9b965c4e3e6aa2cf31d68942fb7a193584477d5904546", "a placeholder of examples and templates"),
    ("1ea604f64a8a5084cb916142866daf06cdb5f69c716f7ba286dc0c1eb2c2209a", "a placeholder of examples and templates"),
    ("d9d0eace9140825cad36359491d0db5abda4691705009a066884472c7c398a90", "a placeholder of examples and templates"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::keys::Algorithm;
    use crate::keys::error::KeyErrorKind;
    use crate::keys::format::text::leading_base64;
    use crate::keys::format::text::tests::encodings;
    use crate::keys::signing_key::SigningKey;
    use crate::keys::verifying_key::VerifyingKey;

    /// Of what the field reported, one in each form that secrets come in.
    const REPORTED: [&str; 4] = [
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
        "reallyreallyreallyreallyverysafe",
        "your-secret-key-change-this-in-production-please",
    ];

    #[test]
    fn a_known_secret_is_known_in_every_form() {
        for secret in REPORTED {
            let bytes = secret.as_bytes();
            let base64 = encode_standard(bytes);
            let hex = String::from_utf8(to_hex(bytes).to_vec()).unwrap();
            for form in [
                bytes.to_vec(),
                format!("{secret}\n").into_bytes(),
                format!(" {secret}\r\n").into_bytes(),
                format!("\u{feff}\"{secret}\"").into_bytes(),
                secret.to_uppercase().into_bytes(),
                secret.replace('-', "_").into_bytes(),
                base64.as_bytes().to_vec(),
                base64.trim_end_matches('=').replace('+', "-").replace('/', "_").into_bytes(),
                encode_standard(format!("{secret}\n").as_bytes()).as_bytes().to_vec(),
                format!("{}\n", hex.to_uppercase()).into_bytes(),
                hex.into_bytes(),
                // The bytes that others decode the text to.
                leading_base64(bytes).to_vec(),
                from_hex(bytes).to_vec(),
            ] {
                // Text that is no hexadecimal, or is cut short by a character that is no base64, decodes to less.
                if form.len() >= 32 {
                    assert!(printed_in(&form).is_some(), "{secret}: {}", String::from_utf8_lossy(&form));
                }
            }
        }
        for secret in REPORTED {
            for form in encodings(secret.as_bytes()) {
                assert!(printed_in(form.as_bytes()).is_some(), "{secret}: {form}");
            }
        }
        assert_eq!(printed_in(b"a secret of these tests: 32 bytes and more"), None);
        assert_eq!((printed_in(b""), printed_in(&[0; 64])), (None, None));
    }

    #[test]
    fn a_key_from_a_generator_with_few_keys_is_known_without_being_listed() {
        for key in [
            "586E3272357538782F413F4428472B4B6250655368566B597033733676397924",
            "357638792F423F4428472B4B6250655368566D597133743677397A2443264629",
            "413F4428472B4B6250655368566D5970337336763979244226452948404D6351",
            "5A7134743777217A25432A462D4A614E",
            "67556B58703273357638792F423F4428472B4B6250655368566D597133743677397A244326462948404D635166546A576E5A7234753778214125442A472D4B61",
            "MbQeThWmZq4t6w9z$C&F)J@NcRfUjXn2",
            // A copy with changes.
            "586B633834416E396D7436753879382F423F4428482B4C6250655367566B5970",
        ] {
            let bytes = key.as_bytes();
            let decoded = [from_hex(bytes), leading_base64(bytes), bytes.to_vec().into()];
            for form in decoded.iter().filter(|form| form.len() >= 32) {
                assert!(printed_in(form).is_some(), "{key}: {}", String::from_utf8_lossy(form));
            }
            for form in encodings(bytes) {
                assert!(printed_in(form.as_bytes()).is_some(), "{key}: {form}");
            }
        }
    }

    #[test]
    fn the_secrets_of_tutorials_and_defaults_are_known() {
        for (secret, place) in [
            ("daf66e01593f61a15b857cf433aae03a005812b31234e149036bcc8dee755dbb", "a published tutorial"),
            ("TmV3U2VjcmV0S2V5Rm9ySldUU2lnbmluZ1B1cnBvc2VzMTIzNDU2Nzg=", "a published tutorial"),
            ("sk-9f73s3ljTXVcMT3Blb3ljTqtsKiGHXVcMT3BlbkFJLK7U", "Dify's default"),
        ] {
            assert_eq!(printed_in(secret.as_bytes()), Some(place), "{secret}");
        }
    }

    #[test]
    fn a_known_secret_is_refused_on_every_way_in() {
        let secret = REPORTED[1];
        let url = crate::jose::base64::encode_url(secret);
        let standard = encode_standard(secret.as_bytes());
        let jwk = format!(r#"{{"kty":"oct","alg":"HS256","k":"{url}"}}"#);
        let decoding = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
        let ways = [
            SigningKey::from_secret(Algorithm::HS256, secret).map(VerifyingKey::from),
            SigningKey::from_base64_secret(Algorithm::HS256, standard.as_str()).map(VerifyingKey::from),
            SigningKey::from_base64url_secret(Algorithm::HS256, &url).map(VerifyingKey::from),
            SigningKey::dangerous().short_hmac(Algorithm::HS512, secret).map(VerifyingKey::from),
            SigningKey::from_jwk(&jwk).map(VerifyingKey::from),
            SigningKey::from_encoding_key(
                Algorithm::HS256,
                &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()),
            )
            .map(VerifyingKey::from),
            VerifyingKey::from_secret(Algorithm::HS256, secret),
            VerifyingKey::from_base64_secret(Algorithm::HS256, standard.as_str()),
            VerifyingKey::from_base64url_secret(Algorithm::HS256, &url),
            VerifyingKey::dangerous().short_hmac(Algorithm::HS512, secret),
            VerifyingKey::from_decoding_key(Algorithm::HS256, &decoding),
            VerifyingKey::from_jwk(&jwk),
        ];
        for (at, way) in ways.into_iter().enumerate() {
            let error = way.unwrap_err();
            assert_eq!(error.kind(), KeyErrorKind::Guessable, "way {at}: {error}");
            assert!(error.to_string().contains("allkeysgenerator.com"), "{error}");
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }

    #[test]
    fn each_entry_is_a_hash_of_its_own() {
        let hashes: HashSet<&str> = KNOWN.iter().map(|(hash, _)| *hash).collect();
        assert_eq!(hashes.len(), KNOWN.len());
        let is_hash = |hash: &str| hash.len() == 64 && from_hex(hash.as_bytes()).len() == 32;
        assert!(hashes.iter().all(|hash| is_hash(hash) && **hash == hash.to_lowercase()));
    }
}
