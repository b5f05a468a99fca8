#[test]
fn x() {
    let files: Vec<std::path::PathBuf> = std::env::var("F").unwrap().split(',').map(Into::into).collect();
    match mailspan::config::Config::load(&files, std::env::vars()) {
        Ok(l) => {
            println!("{:#?}\n{}", l.warnings, mailspan::config::show::AsToml(&l.origins));
            println!("{l:?}")
        }
        Err(p) => println!("{p}"),
    }
}
